package export

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"lathe/export/licence"
	"lathe/trainer"
)

// about is what the folders of base and adapter tell.
type about struct {
	licence  licence.Licence // the base's
	baseName string          // a Hub id, else the folder
	hubID    string          // "" where the base has none that is known
	kind     string
	adapter  adapterFile
	run      *runState // nil where the adapter is no run of lathe's
	trained  int64     // the adapter's parameters
}

// describe reads the base's licence and name, the adapter's configuration and the run that made it.
func describe(o Options) (about, error) {
	a := about{licence: licence.Read(o.Base.FS())}
	if o.AdapterDir != "" {
		run, err := readRun(o.AdapterDir)
		if err != nil {
			return a, err
		}
		a.run = run
		if a.adapter, err = readAdapterFile(filepath.Join(o.AdapterDir, adapterConfig)); err != nil {
			return a, err
		}
		a.kind = a.adapter.kind()
	}
	a.hubID = hubID(o.Base.FS(), o.Base.Dir, a.adapter.BaseModel, o.AdapterDir)
	a.baseName = a.hubID
	if a.baseName == "" && o.Base.Dir != "" {
		path, err := filepath.Abs(o.Base.Dir)
		if err != nil {
			return a, err
		}
		a.baseName = path
	}
	return a, nil
}

const adapterConfig = "adapter_config.json"

// adapterFile is what an export has to know of an adapter_config.json, PEFT's or the adapters library's.
type adapterFile struct {
	BaseModel     string             `json:"base_model_name_or_path"`
	Type          string             `json:"peft_type"`
	R             int                `json:"r"`
	Alpha         float64            `json:"lora_alpha"`
	Dropout       float64            `json:"lora_dropout"`
	RankPattern   map[string]float64 `json:"rank_pattern"`
	Targets       any                `json:"target_modules"` // a list, a regular expression or null
	ModulesToSave []string           `json:"modules_to_save"`
	Bias          any                `json:"bias"` // a word for LoRA
	DoRA          bool               `json:"use_dora"`
	RSLoRA        bool               `json:"use_rslora"`
	VirtualTokens int                `json:"num_virtual_tokens"`
	Projection    bool               `json:"prefix_projection"`
	Config        map[string]any     `json:"config"`     // of the adapters library
	ModelName     string             `json:"model_name"` // of the adapters library
}

func readAdapterFile(path string) (adapterFile, error) {
	var a adapterFile
	data, err := os.ReadFile(path)
	if err != nil {
		return a, err
	}
	if err := decodeJSON(data, &a); err != nil {
		return a, fmt.Errorf("%s: %w", path, err)
	}
	return a, nil
}

// decodeJSON leaves out what has another type than usual: those who need it name it.
func decodeJSON(data []byte, v any) error {
	err := json.Unmarshal(data, v)
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		if wrong.Field == "" {
			return fmt.Errorf("it is a JSON %s, not an object", wrong.Value)
		}
		return nil
	}
	return err
}

// The kinds of adapters.
const (
	kindLoRA       = "lora"
	kindDoRA       = "dora"
	kindPrefix     = "prefix"
	kindBottleneck = "bottleneck"
)

func (a adapterFile) kind() string {
	switch {
	case a.Type == "PREFIX_TUNING":
		return kindPrefix
	case a.Type == "" && a.Config != nil:
		return kindBottleneck
	case a.DoRA:
		return kindDoRA
	case a.Type == "LORA":
		return kindLoRA
	}
	return strings.ToLower(a.Type)
}

// maxRank is the largest rank of any module.
func (a adapterFile) maxRank() int {
	most := float64(a.R)
	for _, r := range a.RankPattern {
		most = max(most, r)
	}
	return int(most)
}

// targets lists what is adapted, for people.
func (a adapterFile) targets() string {
	switch t := a.Targets.(type) {
	case string:
		return t
	case []any:
		names := make([]string, len(t))
		for i, name := range t {
			names[i] = fmt.Sprint(name)
		}
		slices.Sort(names)
		return strings.Join(names, ", ")
	}
	return ""
}

// mergeable tells whether the adapter is a change of weights; others are computed beside them.
func (a about) mergeable() bool { return a.kind != kindPrefix && a.kind != kindBottleneck }

// vllmRank is the rank up to which vLLM takes a LoRA without being told (--max-lora-rank).
const vllmRank = 16

// readers are warnings of programs that refuse such an adapter, with the way out.
func (a adapterFile) readers() (warnings []string) {
	switch a.kind() {
	case kindPrefix, kindBottleneck:
		return []string{"vLLM serves LoRA adapters alone; load this one with its own library"}
	case kindDoRA:
		warnings = append(warnings, "vLLM refuses DoRA adapters (use_dora); serve the merged model instead: lathe export merged")
	}
	if len(a.ModulesToSave) > 0 {
		warnings = append(warnings, "vLLM refuses adapters with modules_to_save ("+strings.Join(a.ModulesToSave, ", ")+"); serve the merged model instead: lathe export merged")
	}
	if bias, ok := a.Bias.(string); ok && bias != "" && bias != "none" {
		warnings = append(warnings, "vLLM refuses adapters with trained biases (bias: "+bias+"); serve the merged model instead: lathe export merged")
	}
	if r := a.maxRank(); r > vllmRank {
		warnings = append(warnings, fmt.Sprintf("vLLM takes ranks up to %d unless told: start it with --max-lora-rank %d", vllmRank, vllmRankFor(r)))
	}
	return warnings
}

// vllmRankFor is the smallest value of --max-lora-rank that vLLM accepts and that holds r.
func vllmRankFor(r int) int {
	for _, n := range []int{8, 16, 32, 64, 128, 256, 320, 512} {
		if r <= n {
			return n
		}
	}
	return r
}

var hubIDShape = regexp.MustCompile(`^[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}$`)

// hubID finds the name under which a base lies on the Hub: in the path of the Hub's cache, in config.json's
// _name_or_path, or in what the adapter calls it, where that is no folder of this machine.
func hubID(base fs.FS, dir, named, adapterDir string) string {
	for path := filepath.ToSlash(dir); path != "" && path != "." && path != "/"; path = pathDir(path) {
		if cached, ok := strings.CutPrefix(pathBase(path), "models--"); ok {
			if id := strings.Replace(cached, "--", "/", 1); hubIDShape.MatchString(id) {
				return id
			}
		}
	}
	var config struct {
		NameOrPath string `json:"_name_or_path"`
	}
	if data, err := fs.ReadFile(base, "config.json"); err == nil && json.Unmarshal(data, &config) == nil && isHubID(config.NameOrPath, dir, adapterDir) {
		return config.NameOrPath
	}
	if isHubID(named, dir, adapterDir) {
		return named
	}
	return ""
}

func pathBase(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

func pathDir(path string) string { return path[:max(strings.LastIndexByte(path, '/'), 0)] }

// isHubID tells a Hub id from a relative path of the same form.
func isHubID(name, dir, adapterDir string) bool {
	if !hubIDShape.MatchString(name) || strings.HasSuffix(filepath.ToSlash(filepath.Clean(dir)), "/"+name) || filepath.ToSlash(filepath.Clean(dir)) == name {
		return false
	}
	for _, root := range []string{"", adapterDir, filepath.Dir(adapterDir)} {
		if _, err := os.Stat(filepath.Join(root, name)); err == nil {
			return false
		}
	}
	return true
}

// FindBase finds the folder of an adapter's base: what its configuration names, or what the run that trained it did, seen
// from the adapter's folder, the one above it, and the current one.
func FindBase(adapterDir string) (string, error) {
	a, err := readAdapterFile(filepath.Join(adapterDir, adapterConfig))
	if err != nil {
		return "", err
	}
	run, err := readRun(adapterDir)
	if err != nil {
		return "", err
	}
	names := []string{a.BaseModel, a.ModelName}
	if run != nil {
		names = append(names, run.Config.ModelNameOrPath)
	}
	names = slices.DeleteFunc(names, func(s string) bool { return s == "" })
	if len(names) == 0 {
		return "", refuse("%s does not say which base it belongs to: name its folder with --model DIR", filepath.Join(adapterDir, adapterConfig))
	}
	for _, name := range names {
		roots := []string{adapterDir, filepath.Dir(filepath.Clean(adapterDir)), "."}
		if filepath.IsAbs(name) {
			roots = []string{""}
		}
		for _, root := range roots {
			path := filepath.Join(root, name)
			if info, err := os.Stat(filepath.Join(path, "config.json")); err == nil && info.Mode().IsRegular() {
				return path, nil
			}
		}
	}
	return "", refuse("the base %s, which %s names, is no folder here: name it with --model DIR", names[0], filepath.Join(adapterDir, adapterConfig))
}

// runState is what an export reads of a run's trainer_state/state.json.
type runState struct {
	Step         int               `json:"step"`
	Epoch        float64           `json:"epoch"`
	Steps        int               `json:"steps"`
	Tokens       int64             `json:"tokens"`
	Config       trainer.Config    `json:"config"`
	Device       string            `json:"device"`
	Saved        time.Time         `json:"saved"`
	History      trainer.History   `json:"history"`
	Best         *trainer.BestEval `json:"best"`
	Fingerprints struct {
		Train      string `json:"train"`
		Validation string `json:"validation"`
	} `json:"fingerprints"`
}

// readRun reads the run that an adapter's folder is a checkpoint or the result of, nil where it is none.
func readRun(dir string) (*runState, error) {
	path := filepath.Join(dir, "trainer_state", "state.json")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s := &runState{Config: trainer.DefaultConfig()}
	if err := decodeJSON(data, s); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", path, err)
	}
	return s, nil
}

// RunConfig is the run.yaml of the run that an adapter's folder is a checkpoint or the result of; false where it is none.
func RunConfig(adapterDir string) (trainer.Config, bool, error) {
	run, err := readRun(adapterDir)
	if err != nil || run == nil {
		return trainer.DefaultConfig(), false, err
	}
	return run.Config, true, nil
}

// setBaseModel writes the base's name into adapter_config.json, every other key as it was.
func setBaseModel(path, name string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var fields map[string]json.RawMessage
	if err := decodeJSON(data, &fields); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	key := "base_model_name_or_path"
	if _, ours := fields[key]; !ours {
		if _, theirs := fields["model_name"]; !theirs { // the adapters library's
			return nil
		}
		key = "model_name"
	}
	if fields[key], err = json.Marshal(name); err != nil {
		return err
	}
	out, err := json.MarshalIndent(maps.Clone(fields), "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(out, '\n'), 0o666)
}
