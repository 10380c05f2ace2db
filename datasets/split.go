package datasets

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// ErrRatios is returned for ratios that no split can have.
var ErrRatios = errors.New("bad split ratios")

// Splits are the rows of each part, in the file's order, and those that are in
// none because the ratios leave something over.
type Splits struct {
	Parts [][]int
	Rest  []int
}

// Split divides rows 0 … n-1 by ratios: disjoint, sizes exact (largest
// remainder), the same for the same seed. With classes [n] each class is divided
// by the same ratios, as near as whole rows allow (stratified). Ratios add up to
// at most 1; rows that they leave over are Rest.
func Split(n int, ratios []float64, seed int64, classes []string) (Splits, error) {
	shares, err := withRest(ratios)
	if err != nil {
		return Splits{}, err
	}
	if classes != nil && len(classes) != n {
		return Splits{}, fmt.Errorf("split %d rows: %d classes were given", n, len(classes))
	}
	sizes := apportion(n, shares)
	parts := make([][]int, len(shares))
	for placed, row := range stratified(n, seed, classes) {
		best, need := -1, math.Inf(-1)
		for p, share := range shares {
			if d := share*float64(placed+1) - float64(len(parts[p])); len(parts[p]) < sizes[p] && d > need {
				best, need = p, d
			}
		}
		parts[best] = append(parts[best], int(row))
	}
	for _, part := range parts {
		slices.Sort(part)
	}
	return Splits{Parts: parts[:len(ratios)], Rest: parts[len(ratios)]}, nil
}

// HoldOut divides rows for `validation_split`: ratio of them, at least one, are
// for validation.
func HoldOut(n int, ratio float64, seed int64) (train, validation []int, err error) {
	if !(ratio > 0 && ratio < 1) {
		return nil, nil, fmt.Errorf("%w: validation_split is %v, it must lie between 0 and 1", ErrRatios, ratio)
	}
	if n < 2 {
		return nil, nil, fmt.Errorf("hold out validation rows: %d rows are too few to divide", n)
	}
	held := min(max(int(math.Round(ratio*float64(n))), 1), n-1)
	order := stratified(n, seed, nil)
	for i, row := range order {
		if i < held {
			validation = append(validation, int(row))
		} else {
			train = append(train, int(row))
		}
	}
	slices.Sort(train)
	slices.Sort(validation)
	return train, validation, nil
}

// withRest checks ratios and adds what is left over.
func withRest(ratios []float64) ([]float64, error) {
	const epsilon = 1e-9 // 0.7 + 0.2 + 0.1 is 0.9999999999999999
	total := 0.0
	for _, r := range ratios {
		if !(r >= 0 && r <= 1) {
			return nil, fmt.Errorf("%w: %v does not lie between 0 and 1", ErrRatios, r)
		}
		total += r
	}
	if len(ratios) == 0 || total == 0 {
		return nil, fmt.Errorf("%w: there is nothing to take", ErrRatios)
	}
	if total > 1+epsilon {
		return nil, fmt.Errorf("%w: %v add up to %v, more than 1", ErrRatios, ratios, total)
	}
	rest := 1 - total
	if rest < epsilon {
		rest = 0
	}
	return append(slices.Clone(ratios), rest), nil
}

// apportion gives n rows to shares by the largest remainder; ties go to the
// earlier share.
func apportion(n int, shares []float64) []int {
	const epsilon = 1e-9 // 0.29·100 is 28.999999999999996
	sizes, left := make([]int, len(shares)), n
	remainder := make([]float64, len(shares))
	for i, share := range shares {
		exact := share * float64(n)
		sizes[i] = int(math.Floor(exact + epsilon))
		remainder[i] = exact - float64(sizes[i])
		left -= sizes[i]
	}
	order := identity(len(shares))
	slices.SortStableFunc(order, func(a, b int32) int {
		switch d := remainder[b] - remainder[a]; {
		case d > epsilon:
			return 1
		case d < -epsilon:
			return -1
		}
		return 0
	})
	for i := range left {
		sizes[order[i%len(order)]]++
	}
	return sizes
}

// stratified orders rows class by class, at random inside of each.
func stratified(n int, seed int64, classes []string) []int32 {
	order := identity(n)
	newRandom(seed, splitStream).shuffle(order)
	if classes == nil {
		return order
	}
	byClass := map[string][]int32{}
	for _, row := range order {
		byClass[classes[row]] = append(byClass[classes[row]], row)
	}
	order = order[:0:0]
	for _, class := range slices.Sorted(maps.Keys(byClass)) {
		order = append(order, byClass[class]...)
	}
	return order
}

// splitNames are the files of one, two or three ratios.
var splitNames = []string{"train.jsonl", "validation.jsonl", "test.jsonl"}

// SplitFile writes train.jsonl, validation.jsonl and test.jsonl (as many as
// there are ratios) into the folder dir; by names the field to stratify by, or
// is empty. Rows keep their bytes; a row of an array that stands on several lines
// is put on one. It returns the splits and the files written.
func SplitFile(ctx context.Context, f *File, dir string, ratios []float64, seed int64, by string) (Splits, []string, error) {
	if len(ratios) > len(splitNames) {
		return Splits{}, nil, fmt.Errorf("%w: at most three, for train, validation and test", ErrRatios)
	}
	if err := f.Wait(ctx); err != nil {
		return Splits{}, nil, err
	}
	classes, err := f.classes(ctx, by)
	if err != nil {
		return Splits{}, nil, err
	}
	splits, err := Split(f.Len(), ratios, seed, classes)
	if err != nil {
		return splits, nil, err
	}
	paths := make([]string, len(ratios))
	for i := range paths {
		paths[i] = filepath.Join(dir, splitNames[i])
		if err := refuseInput(paths[i], f.Path()); err != nil { // before the first is written
			return splits, nil, err
		}
	}
	for i, rows := range splits.Parts {
		if err := writeRows(ctx, f, rows, paths[i]); err != nil {
			return splits, nil, err
		}
	}
	return splits, paths, nil
}

// classes returns the value of a field for every row; nil for no field.
func (f *File) classes(ctx context.Context, by string) ([]string, error) {
	if by == "" {
		return nil, nil
	}
	var classes []string
	newWork := func() func(*Row) string {
		var l linter
		return func(r *Row) string {
			r.detect(&l.d)
			return l.classOf(by)
		}
	}
	err := each(ctx, f, 0, newWork, func(class string) error {
		classes = append(classes, class)
		return nil
	})
	return classes, err
}

// writeRows writes rows of f as JSONL.
func writeRows(ctx context.Context, f *File, rows []int, path string) error {
	return writeFile(path, f.Path(), func(w *rowWriter) error {
		for _, i := range rows {
			if err := ctx.Err(); err != nil {
				return err
			}
			row, err := f.rawRow(i, nil)
			if err != nil {
				return err
			}
			if err := w.row(row); err != nil {
				return err
			}
		}
		return nil
	})
}

// onOneLine returns a row's bytes without line breaks.
func onOneLine(r Row) ([]byte, error) {
	if r.Problem != "" {
		return nil, r.fail(nil, "%s", r.Problem)
	}
	if slices.Index(r.Raw, '\n') < 0 {
		return r.Raw, nil
	}
	compact := jsontext.Value(slices.Clone(r.Raw))
	if err := compact.Compact(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)); err != nil {
		return nil, r.fail(err, "it stands on several lines and is not JSON, so it cannot become one: %v", err)
	}
	return compact, nil
}
