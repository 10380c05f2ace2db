package main

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// sorted are the items in an order that is always the same, so that sums have the same bits.
func (all items) sorted() []item {
	return slices.SortedFunc(maps.Keys(all), func(a, b item) int {
		return cmp.Or(cmp.Compare(a.kernel, b.kernel), cmp.Compare(a.blocks, b.blocks), cmp.Compare(a.bytes(), b.bytes()),
			cmp.Compare(a.padded+a.float, b.padded+b.float), cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)))
	})
}

// tablesOf makes all tables, from the repository at root.
func tablesOf(root string) ([]table, error) {
	ptx := filepath.Join(root, "cuda", "kernels", "ptx")
	reports, err := readReports(ptx)
	if err != nil {
		return nil, err
	}
	sass, err := readSASS(filepath.Join(root, "tools", "roofline", "sass.json"), ptx)
	if err != nil {
		return nil, err
	}
	var all []work
	for _, s := range shapes {
		for _, m := range methods {
			w, err := record(s, m)
			if err != nil {
				return nil, err
			}
			all = append(all, w...)
		}
	}
	goal := find(all, "8B", "QLoRA", false)
	return []table{
		{"devices", deviceTable()},
		{"work", workTable(all)},
		{"ceilings", ceilingTable(all)},
		{"time", timeTable(goal, gpus[0])},
		{"budget", budgetTable(goal, gpus[0])},
		{"changes", changeTable(goal)},
		{"occupancy", occupancyTable(all, reports)},
		{"sass", sassTable(all, sass)},
		{"tiles", tileTable(goal, reports)},
	}, nil
}

func find(all []work, shape, method string, checkpoint bool) work {
	i := slices.IndexFunc(all, func(w work) bool {
		return w.shape.name == shape && w.method.name == method && w.checkpoint == checkpoint
	})
	return all[i]
}

// grid writes a table of Markdown; cells from the second column on stand right.
func grid(head []string, rows [][]string) string {
	var b strings.Builder
	line := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	line(head)
	rule := make([]string, len(head))
	for i := range rule {
		rule[i] = "---:"
	}
	rule[0] = "---"
	line(rule)
	for _, r := range rows {
		line(r)
	}
	return b.String()
}

func deviceTable() string {
	var rows [][]string
	for _, g := range gpus {
		measured, source := "–", g.source
		if m := g.measured; m.tensor > 0 {
			measured, source = fmt.Sprintf("%.0f, %.1f", m.tensor/tera, m.memory/tera), source+"; "+m.source
		}
		rows = append(rows, []string{
			g.name, fmt.Sprintf("%.0f", g.tensor/tera), fmt.Sprintf("%.0f", g.tensor*g.mma/tera), fmt.Sprintf("%.1f", g.float/tera),
			fmt.Sprintf("%.2f", g.memory/tera), measured, fmt.Sprintf("%.0f", float64(g.size)/gib), source,
		})
	}
	head := []string{"device", "tensor TFLOP/s", "by mma.sync", "float32 TFLOP/s", "memory TB/s", "measured TFLOP/s, TB/s", "memory GiB", "source"}
	return grid(head, rows) + fmt.Sprintf("\nmma.sync on Hopper reaches %.1f%% of the tensor cores: %s.\n", 100*hopperMMA, hopperMMASource)
}

// perToken is the operations a token needs: those of the same method without checkpointing.
func perToken(w work) float64 { return w.sum(func(c cost) float64 { return c.model }) / tokens }

func (w work) checkpointing() string {
	if w.checkpoint {
		return "yes"
	}
	return "no"
}

func workTable(all []work) string {
	var rows [][]string
	for _, w := range all {
		once := find(all, w.shape.name, w.method.name, false)
		rows = append(rows, []string{
			w.shape.name, w.method.name, w.checkpointing(), fmt.Sprintf("%.1f", float64(w.peak)/gib), fmt.Sprintf("%.1f", float64(w.acts)/gib), fmt.Sprintf("%.1f", perToken(once)/1e9),
			fmt.Sprintf("%.1f", w.sum(func(c cost) float64 { return c.padded })/tokens/1e9),
			fmt.Sprintf("%.2f", w.sum(func(c cost) float64 { return c.float })/tokens/1e9),
			fmt.Sprintf("%.0f", w.sum(cost.bytes)/1e9), fmt.Sprintf("%.0f", w.sum(func(c cost) float64 { return c.acts })/1e9),
			fmt.Sprint(w.launches()),
		})
	}
	return grid([]string{
		"shape", "method", "checkpointing", "memory GiB", "activations, workspace", "needed GFLOP a token", "done on tensor cores", "done in float32",
		"GB moved a row", "of that float32 activations", "launches a row",
	}, rows)
}

func ceilingTable(all []work) string {
	head := []string{"shape", "method", "checkpointing"}
	for _, g := range gpus {
		name := g.name
		if g.refused != "" {
			name += " (refused)"
		}
		head = append(head, name)
	}
	var rows [][]string
	for _, w := range all {
		once := find(all, w.shape.name, w.method.name, false)
		r := []string{w.shape.name, w.method.name, w.checkpointing()}
		for _, g := range gpus {
			if !w.fits(g) {
				r = append(r, "no room")
				continue
			}
			sheet, own := tokens/w.time(g.sheet()).total(), tokens/w.time(g.own()).total()
			r = append(r, fmt.Sprintf("%s / %s, %.0f%%", thousands(own), thousands(sheet), 100*g.utilisation(own, perToken(once))))
		}
		rows = append(rows, r)
	}
	return grid(head, rows)
}

// thousands writes tokens a second with three digits.
func thousands(x float64) string {
	n := int(round(x, 3))
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}

// timeTable is where a micro-batch's time goes on a device.
func timeTable(w work, g gpu) string {
	t, l := w.time(g.own()), g.own()
	var rows [][]string
	for _, r := range roles {
		if t[r] == 0 {
			continue
		}
		of := func(f func(cost) float64) float64 {
			return w.sum(func(c cost) float64 {
				if c.role != r {
					return 0
				}
				return f(c)
			})
		}
		tensor, float, bytes := of(func(c cost) float64 { return c.padded }), of(func(c cost) float64 { return c.float }), of(cost.bytes)
		shared := of(func(c cost) float64 { return c.shared })
		rows = append(rows, []string{
			string(r), fmt.Sprintf("%.1f", 1e3*t[r]), fmt.Sprintf("%.1f%%", 100*t[r]/t.total()), fmt.Sprintf("%.1f", 1e3*tensor/l.tensor),
			fmt.Sprintf("%.1f", 1e3*float/l.float), fmt.Sprintf("%.1f", 1e3*bytes/l.memory), fmt.Sprintf("%.1f", 1e3*shared/l.shared),
		})
	}
	rows = append(rows, []string{"all", fmt.Sprintf("%.1f", 1e3*t.total()), "100%", "", "", "", ""})
	return grid([]string{"what", "ms", "share", "tensor cores alone", "float32 alone", "memory alone", "shared memory alone"}, rows)
}

// Goals of an 8B QLoRA on one H200, in tokens a second and in the share of the data sheet's products.
const (
	goalTokens      = 12500.
	goalUtilisation = .45
)

// budgetTable is what each part may take in a block for a goal, where each is as far from its roofline as all others.
func budgetTable(w work, g gpu) string {
	t := w.time(g.own())
	second := goalUtilisation * g.tensor / perToken(w)
	first := tokens / goalTokens / t.total()
	then := tokens / second / t.total()
	var rows [][]string
	layers := float64(w.shape.layers)
	for _, r := range roles {
		if us := 1e6 * t[r] / layers; us > 0 {
			rows = append(rows, []string{string(r), fmt.Sprintf("%.0f", us), fmt.Sprintf("%.0f", us*first), fmt.Sprintf("%.0f", us*then)})
		}
	}
	us := 1e6 * t.total() / layers
	rows = append(rows, []string{"all", fmt.Sprintf("%.0f", us), fmt.Sprintf("%.0f", us*first), fmt.Sprintf("%.0f", us*then)})
	rows = append(rows, []string{"share of the roofline that all have to reach", "100%", fmt.Sprintf("%.0f%%", 100/first), fmt.Sprintf("%.0f%%", 100/then)})
	return grid([]string{
		"µs a block and row", "roofline", fmt.Sprintf("for %s tok/s", thousands(goalTokens)),
		fmt.Sprintf("for 45%% (%s tok/s)", thousands(second)),
	}, rows)
}

const tensorAttention = "attention on tensor cores"

// steps are changes in the order in which they are tried, each on top of those before: to launches, or to how fast a device goes.
var steps = []struct {
	name   string
	change change
	faster func(*limits, gpu)
}{
	{name: "as it is"},
	{name: tensorAttention, change: attentionTensor},
	{name: "the head by chunks of 1024 rows", change: wholeChunks},
	{name: "an operand packed once for products that share it", change: packOnce},
	{name: "the residual's copy in the product before it", change: fusedEnds},
	{name: "products by cuBLASLt or wgmma", faster: func(l *limits, g gpu) { l.products = g.library() }},
	{name: "activations and their gradients in bf16", change: narrowActs},
	{name: "attention's backward pass with half the loads of shared memory", change: halfLoads},
	{name: "attention by cuDNN or wgmma", faster: func(l *limits, g gpu) { l.heads = g.library() }},
	{name: "a bf16 copy of the weights", change: keptWeights},
	{name: "LoRA's inner products on tensor cores", change: lowRankTensor},
	{name: "attention's backward pass in 5 products, not 7", change: fiveProducts},
}

// changeTable adds one change after the other, and says on the first device what each does alone and what the goals ask of what is left.
func changeTable(w work) string {
	devices := []gpu{gpus[0], gpus[2], gpus[3]}
	head := []string{
		"change, on top of those above", "alone, " + devices[0].name, devices[0].name + " tok/s", "MFU",
		fmt.Sprintf("of it for %s", thousands(goalTokens)), "of it for 45%",
	}
	for _, g := range devices[1:] {
		head = append(head, g.name+" tok/s", "MFU")
	}
	var rows [][]string
	var done []change
	var faster []func(*limits, gpu)
	base := w.time(gpus[0].own())
	for _, s := range steps {
		l, alone := gpus[0].own(), []change(nil)
		if s.change != nil {
			alone = append(alone, s.change)
		}
		if s.faster != nil {
			s.faster(&l, gpus[0])
			faster = append(faster, s.faster)
		}
		t := w.time(l, alone...)
		if s.name == tensorAttention && t[attention] == base[attention] {
			continue // it is so already
		}
		done = append(done, alone...)
		r := []string{s.name, fmt.Sprintf("%+.1f ms", 1e3*(t.total()-base.total()))}
		for i, g := range devices {
			l := g.own()
			for _, f := range faster {
				f(&l, g)
			}
			perSecond := tokens / w.time(l, done...).total()
			share := g.utilisation(perSecond, perToken(w))
			r = append(r, thousands(perSecond), fmt.Sprintf("%.0f%%", 100*share))
			if i == 0 {
				r = append(r, fmt.Sprintf("%.0f%%", 100*goalTokens/perSecond), fmt.Sprintf("%.0f%%", 100*goalUtilisation/share))
			}
		}
		rows = append(rows, r)
	}
	return grid(head, rows)
}

// launched are the kernels of all recorded steps with one of their launches each: that of most shared memory.
func launched(all []work) []item {
	by := map[string]item{}
	for _, w := range all {
		for _, i := range append(w.micro.sorted(), w.end.sorted()...) {
			if old, ok := by[i.kernel]; !ok || i.dynamic > old.dynamic {
				by[i.kernel] = i
			}
		}
	}
	return slices.SortedFunc(maps.Values(by), func(a, b item) int { return cmp.Compare(a.kernel, b.kernel) })
}

func occupancyTable(all []work, reports map[string]map[string]sizes) string {
	head := []string{"kernel", "threads", "shared KiB", "registers 80 / 89 / 90"}
	for _, m := range multiprocessors {
		head = append(head, fmt.Sprintf("warps of %d on %s", m.warps, m.name))
	}
	var rows [][]string
	for _, i := range launched(all) {
		sm, ok := reports[i.kernel]
		if !ok { // a fill or a copy of the driver's
			continue
		}
		r := []string{
			i.kernel, fmt.Sprint(i.threads), fmt.Sprintf("%.1f", float64(i.dynamic+sm["sm_80"].SharedBytes)/1024),
			fmt.Sprintf("%d / %d / %d", sm["sm_80"].Registers, sm["sm_89"].Registers, sm["sm_90"].Registers),
		}
		for _, m := range multiprocessors {
			r = append(r, fmt.Sprint(m.resident(sm[m.name], i.threads, i.dynamic)*((i.threads+31)/32)))
		}
		rows = append(rows, r)
	}
	return grid(head, rows)
}

// sassTable sets a loop's instructions against what its tile asks for.
func sassTable(all []work, sass map[string]map[string]counts) string {
	var rows [][]string
	for _, i := range launched(all) {
		for _, arch := range []string{"sm_80", "sm_90"} {
			c, ok := sass[i.kernel][arch]
			if !ok {
				continue
			}
			kind, loads, wanted := "HMMA", c.Loop["LDSM"], "–"
			if c.Loop["HMMA"] == 0 {
				kind, loads = "FFMA", c.Loop["LDS.128"]
			}
			n := c.Loop[kind]
			if kind == "HMMA" { // a loop holds the first of an attention's products
				wanted = fmt.Sprintf("%.2f", tileOf(i.kernel).products[0].loads())
			}
			rows = append(rows, []string{
				i.kernel, arch, fmt.Sprintf("%d %s", n, kind), fmt.Sprint(loads), fmt.Sprintf("%.2f", ratio(loads, n)), wanted,
				fmt.Sprint(c.Loop["LDGSTS"]), fmt.Sprint(c.Loop["BAR"]), fmt.Sprintf("%.2f", ratio(c.Loop["instructions"], n)),
				fmt.Sprint(c.All["LDL"] + c.All["STL"]),
			})
		}
	}
	return grid([]string{
		"kernel", "architecture", "products in the loop", "loads of shared memory (LDSM, LDS.128)", "for a product", "the tile asks for", "LDGSTS", "barriers",
		"instructions for a product", "local memory",
	}, rows)
}

func ratio(a, b int) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// tileTable is what the kernels of products on tensor cores ask of shared memory, and the product's tiles of the second-level cache, when
// their products go at full speed; and what the last wave of blocks, which leaves multiprocessors idle, adds to the products of a step.
func tileTable(w work, reports map[string]map[string]sizes) string {
	devices := []gpu{gpus[0], gpus[2], gpus[3]}
	var rows [][]string
	for _, kernel := range []string{"gemm_128x256", "gemm_128x128", "gemm_64x64", "attention_forward_", "attention_keys_", "attention_queries_"} {
		t := tileOf(kernel)
		r := []string{strings.Trim(kernel, "_"), fmt.Sprintf("%.2f", t.loads())}
		for _, g := range devices {
			macs := g.own().tensor / 2 // a second
			need := macs * sharedOf(kernel) / float64(g.sms) / g.clock()
			r = append(r, fmt.Sprintf("%.0f", need), fmt.Sprintf("%.0f%%", min(100, 100*sharedBytes/need)), fmt.Sprintf("%.1f", macs*t.brought/tera))
		}
		rows = append(rows, r)
	}
	r := []string{"products in whole waves of blocks", ""}
	head := []string{"kernel", "ldmatrix an mma"}
	for _, g := range devices {
		head = append(head, g.name+": bytes a clock", "of the tensor cores", "L2 TB/s")
		r = append(r, "", fmt.Sprintf("%.0f%%", 100/w.waves(g, reports)), "")
	}
	return grid(head, append(rows, r))
}

// waves is the time of the products on tensor cores when blocks come in whole waves, against that without.
func (w work) waves(g gpu, reports map[string]map[string]sizes) float64 {
	i := slices.IndexFunc(multiprocessors, func(m multiprocessor) bool { return m.name == g.sm })
	var exact, whole float64
	for _, k := range w.micro.sorted() {
		if k.role != product {
			continue
		}
		slots := float64(g.sms * multiprocessors[i].resident(reports[k.kernel][g.sm], k.threads, k.dynamic))
		waves := float64(k.blocks) / slots
		t := float64(w.micro[k]) * g.own().seconds(k.cost)
		exact, whole = exact+t, whole+t*ceil(float64(k.blocks), slots)/waves
	}
	return whole / exact
}
