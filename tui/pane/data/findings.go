package data

import (
	"cmp"
	"reflect"
	"slices"

	"lathe/datasets"
	"lathe/session"
)

// stamp tells one list or map of a View from another without looking inside: they are replaced or grow, never changed.
type stamp struct {
	at  uintptr
	len int
}

func stampOf(v any) stamp {
	r := reflect.ValueOf(v)
	return stamp{r.Pointer(), r.Len()}
}

// gravity orders levels, gravest first.
func gravity(l datasets.Level) int {
	switch l {
	case datasets.LevelError:
		return 0
	case datasets.LevelWarn:
		return 1
	}
	return 2
}

// indexFindings finds each row's findings, gravest first, when the list is another one.
func (p *Pane) indexFindings(d session.DataView) {
	now := stampOf(d.Findings)
	if p.findings != nil && now == p.marked {
		return
	}
	p.marked, p.findings, p.faulty, p.text = now, map[int][]int{}, nil, nil
	for i, f := range d.Findings {
		if len(p.findings[f.Row]) == 0 {
			p.faulty = append(p.faulty, f.Row)
		}
		p.findings[f.Row] = append(p.findings[f.Row], i)
	}
	slices.Sort(p.faulty)
	for _, of := range p.findings {
		slices.SortStableFunc(of, func(a, b int) int {
			return cmp.Compare(gravity(d.Findings[a].Level), gravity(d.Findings[b].Level))
		})
	}
	p.chosen = 0
}

// of are the findings of a row.
func (p *Pane) findingsOf(row int) []datasets.Finding {
	all := p.c.View.Data.Findings
	var out []datasets.Finding
	for _, i := range p.findings[row] {
		if i < len(all) {
			out = append(out, all[i])
		}
	}
	return out
}

// step goes to the next finding of the file in a direction, around its ends, within what the filter shows. It says whether
// it went around; ok is false when there is no finding to go to.
func (p *Pane) step(dir int) (around, ok bool) {
	row := p.current()
	if n := p.chosen + dir; n >= 0 && n < len(p.findings[row]) {
		p.chosen = n
		return false, true
	}
	at, found := slices.BinarySearch(p.faulty, row)
	if dir > 0 && found {
		at++
	}
	for range len(p.faulty) + 1 {
		if dir < 0 {
			at--
		}
		if at < 0 || at >= len(p.faulty) {
			around = true
			at = (at + len(p.faulty)) % max(len(p.faulty), 1)
		}
		if at >= len(p.faulty) {
			return around, false
		}
		if next := p.faulty[at]; p.filter == nil || p.filter.shows(next) {
			if next >= p.c.View.Data.Rows {
				return around, false
			}
			p.goTo(next)
			if dir < 0 {
				p.chosen = len(p.findings[next]) - 1
			}
			return around, true
		}
		if dir > 0 {
			at++
		}
	}
	return around, false
}

// unlisted is how many findings the check has counted beyond those that it lists.
func (p *Pane) unlisted() int {
	d := p.c.View.Data
	if d.Summary == nil {
		return 0
	}
	return max(d.Summary.Errors+d.Summary.Warnings+d.Summary.Infos-len(d.Findings), 0)
}
