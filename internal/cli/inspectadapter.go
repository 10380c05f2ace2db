package cli

import (
	"errors"
	"fmt"

	"lathe/export"
)

// adapterReport is what `lathe inspect` says of an adapter's folder.
type adapterReport struct {
	Dir string `json:"dir"`
	*export.Adapter
}

// alone is what is printed of an adapter whose base is not here.
type alone struct {
	Adapter *adapterReport `json:"adapter"`
	Health  []finding      `json:"health"`
}

// isAdapter tells an adapter's folder from a model's.
func isAdapter(dir string) bool {
	return fileIn(dir, "adapter_config.json") && !fileIn(dir, "config.json")
}

// inspectAdapter prints what can be said of an adapter, and of its base where that is here.
func (e *env) inspectAdapter(dir, adapter string) error {
	a, fault := export.DescribeAdapter(adapter)
	if a == nil {
		return configError(fault)
	}
	report := &adapterReport{adapter, a}
	health := []finding{}
	if fault != nil {
		health = append(health, finding{levelError, "adapter", fault.Error()})
	}
	for _, w := range a.Warnings {
		health = append(health, finding{levelInfo, "adapter", w})
	}
	if dir == "" {
		base, err := export.FindBase(adapter)
		if err != nil {
			health = append(health, finding{levelInfo, "adapter", err.Error()})
			return errors.Join(e.printAlone(alone{report, health}), fault)
		}
		dir = base
	}
	in, baseFault := e.inspect(dir)
	if in == nil {
		return configError(baseFault)
	}
	in.Adapter = report
	in.Health = append(in.Health, health...)
	in.sortHealth()
	if err := e.printInspection(in); err != nil {
		return err
	}
	if fault != nil {
		return fault // one line: the base's is on the page
	}
	return baseFault
}

func (e *env) printAlone(a alone) error {
	if e.json {
		return writeJSON(e.stdout, a)
	}
	p := newPage(e.stdout)
	p.title(a.Adapter.Kind+" adapter", "", a.Adapter.Dir)
	a.Adapter.print(p)
	p.health(a.Health)
	return p.err
}

func (a *adapterReport) print(p *page) {
	p.row("kind", a.kindLine())
	p.row("base", a.BaseModel)
	if a.Kind == "lora" || a.Kind == "dora" {
		text := fmt.Sprintf("%d, alpha %v", a.R, a.Alpha)
		if a.RSLoRA {
			text += ", scaled by 1/√r"
		}
		p.row("r", text)
		p.row("targets", a.Targets)
		if len(a.ModulesToSave) > 0 {
			p.row("saved whole", few(a.ModulesToSave, 6))
		}
		if a.Bias != "" && a.Bias != "none" {
			p.row("bias", a.Bias)
		}
	}
	if a.VirtualTokens > 0 {
		p.row("virtual", fmt.Sprintf("%d tokens before every prompt", a.VirtualTokens))
	}
	if a.File != "" {
		p.row("parameters", fmt.Sprintf("%s in %d tensors", count(a.Parameters), a.Tensors))
		p.row("weights", fmt.Sprintf("%s, %s (%s)", bytesText(a.Bytes), a.DType, a.File))
	}
	if a.Step > 0 {
		p.row("run", fmt.Sprintf("method %s, step %s", a.Method, count(int64(a.Step))))
	}
}

// kindNames are the adapters' names for people.
var kindNames = map[string]string{
	"lora": "LoRA", "dora": "DoRA", "prefix": "prefix tuning", "bottleneck": "bottleneck adapter (adapters library)",
}

func (a *adapterReport) kindLine() string {
	if name, ok := kindNames[a.Kind]; ok {
		return name
	}
	return a.Kind
}
