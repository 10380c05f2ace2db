package trainer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v4"

	"lathe/model"
)

// ErrConfig marks errors of a run.yaml: bad usage, exit code 2.
var ErrConfig = errors.New("configuration")

// configError is one fault of a config, one line.
type configError struct {
	line int // from 1; 0 when no line is to blame
	text string
}

func (e *configError) Error() string {
	if e.line > 0 {
		return fmt.Sprintf("line %d: %s", e.line, e.text)
	}
	return e.text
}

func (e *configError) Is(target error) bool { return target == ErrConfig }

func faultf(line int, format string, args ...any) error {
	return &configError{line: line, text: fmt.Sprintf(format, args...)}
}

// LoadConfig reads a run.yaml. Relative paths in it are relative to its folder, so that a run means the same from
// wherever it is started. Every fault is one line of the error, with the line of the file; they match [ErrConfig].
func LoadConfig(path string) (Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("read config: %w", err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return Config{}, fmt.Errorf("read config: %w", err)
	}
	c, err := ParseConfig(data, dir)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// ParseConfig reads a run.yaml's bytes; dir is the folder that relative paths start from. The config it returns is valid.
func ParseConfig(data []byte, dir string) (Config, error) {
	c := DefaultConfig()
	p := configParser{seen: map[string]int{}}
	if err := p.parse(data, &c); err != nil {
		return Config{}, err
	}
	p.settle(&c, dir)
	faults := c.faults()
	for i, f := range faults {
		if e := (*configError)(nil); errors.As(f, &e) && e.line == 0 {
			key, _, _ := strings.Cut(e.text, ":")
			faults[i] = &configError{line: p.seen[key], text: e.text}
		}
	}
	if err := errors.Join(faults...); err != nil {
		return Config{}, err
	}
	return c, nil
}

// configParser walks the YAML tree itself: the library's own decoding names Go types, not keys and lines.
type configParser struct {
	seen   map[string]int // line of each key, "lora.r" for nested ones
	faults []error
}

func (p *configParser) parse(data []byte, c *Config) (err error) {
	defer func() { // the YAML library must not take the program down
		if r := recover(); r != nil {
			err = faultf(0, "not YAML: %v", r)
		}
	}()
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return faultf(0, "not YAML: %s", oneLine(strings.TrimPrefix(err.Error(), "yaml: ")))
	}
	if len(doc.Content) == 0 {
		return faultf(0, "it is empty: model_name_or_path, train_file and output_dir are the least it needs")
	}
	p.mapping(doc.Content[0], reflect.ValueOf(c).Elem(), "")
	return errors.Join(p.faults...)
}

func (p *configParser) fault(n *yaml.Node, format string, args ...any) {
	p.faults = append(p.faults, faultf(n.Line, format, args...))
}

// mapping sets the fields of a struct from a mapping's keys.
func (p *configParser) mapping(n *yaml.Node, dst reflect.Value, section string) {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		where := "run.yaml"
		if section != "" {
			where = strings.TrimSuffix(section, ".")
		}
		p.fault(n, "%s: wants keys and values, not %s", where, describe(n))
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], resolve(n.Content[i+1])
		name := section + key.Value
		field, ok := fieldByKey(dst, key.Value)
		if !ok || key.Kind != yaml.ScalarNode {
			p.fault(key, "%s", unknownKey(key.Value, section))
			continue
		}
		if first, twice := p.seen[name]; twice {
			p.fault(key, "%s: given twice, first in line %d", name, first)
			continue
		}
		p.seen[name] = key.Line
		if value.ShortTag() == "!!null" {
			continue // null is "leave it at its default"
		}
		p.value(value, field, name)
	}
}

func (p *configParser) value(n *yaml.Node, dst reflect.Value, name string) {
	switch to := dst.Addr().Interface().(type) {
	case *StringList:
		*to = p.strings(n, name)
		return
	case *model.TargetModules:
		*to = moduleNames(p.strings(n, name), n.Kind == yaml.SequenceNode)
		return
	case *IntList:
		*to = p.integers(n, name)
		return
	case *model.Pattern:
		*to = p.pattern(n, name)
		return
	}
	if dst.Kind() == reflect.Struct {
		p.mapping(n, dst, name+".")
		return
	}
	var want string
	switch dst.Kind() {
	case reflect.String:
		want = "text"
		if n.ShortTag() == "!!str" {
			dst.SetString(n.Value)
			return
		}
		if n.ShortTag() == "!!bool" {
			want = `text (the word no is written no, or "no")`
		}
	case reflect.Bool:
		want = "true or false"
		var b bool
		if n.Kind == yaml.ScalarNode && n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) == 0 && n.Decode(&b) == nil {
			dst.SetBool(b)
			return
		}
	case reflect.Int, reflect.Int64:
		want = "a whole number"
		var v int64
		if n.ShortTag() == "!!int" && n.Decode(&v) == nil {
			dst.SetInt(v)
			return
		}
	case reflect.Float64:
		want = "a number"
		var v float64
		if tag := n.ShortTag(); (tag == "!!int" || tag == "!!float") && n.Decode(&v) == nil {
			dst.SetFloat(v)
			return
		}
	}
	p.fault(n, "%s: wants %s, not %s", name, want, describe(n))
}

func (p *configParser) strings(n *yaml.Node, name string) StringList {
	items := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		items = n.Content
	}
	list := make(StringList, 0, len(items))
	for _, item := range items {
		item = resolve(item)
		if item.Kind != yaml.ScalarNode || item.ShortTag() != "!!str" {
			p.fault(item, "%s: wants text or a list of texts, not %s", name, describe(item))
			return nil
		}
		list = append(list, item.Value)
	}
	return list
}

func (p *configParser) integers(n *yaml.Node, name string) IntList {
	items := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		items = n.Content
	}
	list := make(IntList, 0, len(items))
	for _, item := range items {
		var v int
		if item = resolve(item); item.ShortTag() != "!!int" || item.Decode(&v) != nil {
			p.fault(item, "%s: wants a whole number or a list of them, not %s", name, describe(item))
			return nil
		}
		list = append(list, v)
	}
	return list
}

// pattern reads numbers by the ends of module paths, in the file's order.
func (p *configParser) pattern(n *yaml.Node, name string) model.Pattern {
	if n.Kind != yaml.MappingNode {
		p.fault(n, "%s: wants module names and numbers, such as {down_proj: 8}, not %s", name, describe(n))
		return nil
	}
	var list model.Pattern
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], resolve(n.Content[i+1])
		v := model.PatternValue{Module: key.Value}
		if tag := value.ShortTag(); tag != "!!int" && tag != "!!float" || value.Decode(&v.Value) != nil {
			p.fault(value, "%s.%s: wants a number, not %s", name, key.Value, describe(value))
			return nil
		}
		list = append(list, v)
	}
	return list
}

// settle fills in what follows from other keys, and makes paths independent of the working folder.
func (p *configParser) settle(c *Config, dir string) {
	given := func(key string) bool { return p.seen[key] > 0 }
	if !given("load_in_4bit") {
		c.LoadIn4bit = c.Method == MethodQLoRA
	}
	if !given("eval_strategy") && len(c.ValidationFile) == 0 && c.ValidationSplit == 0 {
		c.EvalStrategy = StrategyNo
	}
	if !given("eval_strategy") && c.EvalSteps > 0 {
		c.EvalStrategy = StrategySteps
	}
	if !given("save_strategy") && c.SaveSteps > 0 {
		c.SaveStrategy = StrategySteps
	}
	if c.MaxSteps == -1 { // transformers' "not set"
		c.MaxSteps = 0
	}
	absolute := func(path *string) {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(dir, *path)
		}
	}
	absolute(&c.ModelNameOrPath)
	absolute(&c.OutputDir)
	absolute(&c.AdapterNameOrPath)
	for i := range c.TrainFile {
		absolute(&c.TrainFile[i])
	}
	for i := range c.ValidationFile {
		absolute(&c.ValidationFile[i])
	}
}

// resolve follows an alias to its anchor.
func resolve(n *yaml.Node) *yaml.Node {
	for i := 0; n.Kind == yaml.AliasNode && n.Alias != nil && i < 8; i++ {
		n = n.Alias
	}
	return n
}

// describe says what a value is, for "wants X, not Y".
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "keys and values"
	case yaml.ScalarNode:
		if n.ShortTag() == "!!str" {
			return fmt.Sprintf("the text %q", shorten(n.Value, 60))
		}
		if n.Value == "" {
			return "nothing"
		}
		return shorten(n.Value, 60)
	}
	return "that"
}

func shorten(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// keysOf lists a struct's keys.
func keysOf(t reflect.Type) []string {
	keys := make([]string, t.NumField())
	for i := range keys {
		keys[i] = t.Field(i).Tag.Get("yaml")
	}
	return keys
}

func fieldByKey(v reflect.Value, key string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if key != "" && v.Type().Field(i).Tag.Get("yaml") == key {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// unknownKey names what the user may have meant: the same key in another section first, then the nearest spelling.
func unknownKey(key, section string) string {
	t := reflect.TypeFor[Config]()
	here, elsewhere := keysOf(t), map[string]string{}
	for i := range t.NumField() {
		field := t.Field(i)
		if field.Type.Kind() != reflect.Struct {
			continue
		}
		name := field.Tag.Get("yaml")
		if name+"." == section {
			here = keysOf(field.Type)
			continue
		}
		for _, k := range keysOf(field.Type) {
			elsewhere[k] = "it belongs under " + name + ":"
		}
	}
	if section != "" {
		for _, k := range keysOf(t) {
			elsewhere[k] = "it belongs at the left margin, outside of " + strings.TrimSuffix(section, ".") + ":"
		}
	}
	if hint, ok := elsewhere[key]; ok {
		return fmt.Sprintf("unknown key %s: %s", section+key, hint)
	}
	if name, ok := otherNames[key]; ok && section == "" {
		return fmt.Sprintf("unknown key %s: the nearest known one is %s", key, name)
	}
	return fmt.Sprintf("unknown key %s: the nearest known one is %s", shorten(section+key, 60), section+nearest(key, here))
}

// otherNames are what other tools call some keys.
var otherNames = map[string]string{
	"base_model": "model_name_or_path", "model": "model_name_or_path", "dataset": "train_file", "datasets": "train_file",
	"micro_batch_size": "per_device_train_batch_size", "batch_size": "per_device_train_batch_size", "epochs": "num_train_epochs",
	"num_epochs": "num_train_epochs", "lr": "learning_rate", "lr_scheduler": "lr_scheduler_type", "optimizer": "optim",
	"max_length": "max_seq_length", "cutoff_len": "max_seq_length", "sequence_len": "max_seq_length",
	"val_set_size": "validation_split", "evaluation_strategy": "eval_strategy", "finetuning_type": "method",
	"max_grad_norm_clip": "max_grad_norm", "eval_file": "validation_file", "resume_from_checkpoint": "adapter_name_or_path",
	"data_path": "train_file", "sample_packing": "packing", "double_quantization": "bnb_4bit_use_double_quant",
}

// nearest gives the candidate with the smallest edit distance; one that holds the word whole, or is held by it, is nearer.
func nearest(s string, candidates []string) string {
	if r := []rune(s); len(r) > 64 {
		s = string(r[:64])
	}
	best, bestDistance := "", -1
	for _, c := range candidates {
		d := editDistance(s, c)
		if len(s) > 3 && len(c) > 3 && (strings.Contains(c, s) || strings.Contains(s, c)) {
			d /= 4
		}
		if bestDistance < 0 || d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// editDistance is Levenshtein's.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
