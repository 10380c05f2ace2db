package trainer

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"lathe/compute"
	"lathe/datasets"
)

// Saving is a change of run.yaml that saves memory, and what it buys.
type Saving struct {
	Set          map[string]any `json:"set"`           // keys of run.yaml, such as gradient_checkpointing or lora.r
	Saves        int64          `json:"saves"`         // bytes, at the run's own batch size
	Total        int64          `json:"total"`         // bytes that the run then takes at most
	Fits         bool           `json:"fits"`          // with the run's own batch size
	LargestBatch int            `json:"largest_batch"` // that then fits, 0 where none does or the device's memory is not known
	Cost         string         `json:"cost"`          // what it costs, in words
}

// Text is the change as run.yaml spells it: "gradient_checkpointing: true, lora.r: 8".
func (o Saving) Text() string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(o.Set)) {
		parts = append(parts, fmt.Sprintf("%s: %v", key, o.Set[key]))
	}
	return strings.Join(parts, ", ")
}

// verdict is the plan's line.
func (p Plan) verdict() string {
	if p.Available == 0 {
		return fmt.Sprintf("takes %s; the device does not say what it has", formatBytes(p.Memory.Peak()))
	}
	if p.Fits {
		text := fmt.Sprintf("fits: %s of %s free", formatBytes(p.Memory.Peak()), formatBytes(p.Available))
		if p.Ranks > 1 {
			text += fmt.Sprintf(" on each of %d devices", p.Ranks)
		}
		return text
	}
	text := fmt.Sprintf("it will not fit: %s wanted, %s free", formatBytes(p.Memory.Peak()), formatBytes(p.Available))
	for _, o := range p.Offers {
		if o.Fits {
			return fmt.Sprintf("%s; with %s it fits (%s)", text, o.Text(), formatBytes(o.Total))
		}
	}
	if n := len(p.Offers); n > 0 {
		return fmt.Sprintf("%s; even with %s it takes %s: take a smaller model or a larger device", text, p.Offers[n-1].Text(), formatBytes(p.Offers[n-1].Total))
	}
	return text + ": take a smaller model or a larger device"
}

// change is one way to save memory.
type change struct {
	price []price
	set   map[string]any
	apply func(*Config)
}

// price is what setting a key costs, in words.
type price struct{ key, text string }

// makeOffers fills in what each saving would buy, and the largest batch that fits.
func (r *Run) makeOffers(device compute.Info) error {
	p := &r.plan
	now, err := r.holdings(device)
	if err != nil {
		return err
	}
	if p.Available > 0 {
		if p.LargestBatch, err = now.largestBatch(p.Available); err != nil {
			return err
		}
	}
	p.Offers = nil
	var useful []change
	for _, c := range r.changes() {
		o, ok, err := r.offer(device, c)
		if err != nil {
			return err
		}
		if ok {
			p.Offers, useful = append(p.Offers, o), append(useful, c)
		}
	}
	if !p.Fits && !slices.ContainsFunc(p.Offers, func(o Saving) bool { return o.Fits }) {
		if err := r.offerTogether(device, useful); err != nil {
			return err
		}
	}
	p.Verdict = p.verdict()
	return nil
}

// offerTogether adds changes, those that cost least first, until the run fits, if need be in smaller micro-batches; those that
// turn out not to be needed are taken out again.
func (r *Run) offerTogether(device compute.Info, changes []change) error {
	var chosen []change
	var best Saving
	for _, c := range changes {
		chosen = append(chosen, c)
		o, err := r.offerAll(device, chosen)
		if err != nil {
			return err
		}
		if best.Set == nil || o.Total < best.Total {
			best = o
		}
		if o.Fits {
			break
		}
	}
	for i := len(chosen) - 1; best.Fits && i >= 0; i-- {
		fewer := slices.Delete(slices.Clone(chosen), i, i+1)
		o, err := r.offerAll(device, fewer)
		if err != nil {
			return err
		}
		if o.Fits {
			chosen, best = fewer, o
		}
	}
	if len(best.Set) > 1 {
		r.plan.Offers = append(r.plan.Offers, best)
	}
	return nil
}

// offerAll offers changes together, with the largest micro-batch that they leave room for.
func (r *Run) offerAll(device compute.Info, changes []change) (Saving, error) {
	var all change
	for _, c := range changes {
		all = all.and(c)
	}
	o, _, err := r.offer(device, all)
	if err == nil && !o.Fits {
		o, _, err = r.offer(device, all.and(smallerBatch(r.config, max(o.LargestBatch, 1))))
	}
	return o, err
}

// and is both changes; where both set the same keys, the later one.
func (c change) and(o change) change {
	both := change{set: map[string]any{}, apply: func(cfg *Config) {
		if c.apply != nil {
			c.apply(cfg)
		}
		o.apply(cfg)
	}}
	for _, p := range c.price {
		if _, again := o.set[p.key]; !again {
			both.price = append(both.price, p)
		}
	}
	both.price = append(both.price, o.price...)
	maps.Copy(both.set, c.set)
	maps.Copy(both.set, o.set)
	return both
}

// cost is the change's price in words.
func (c change) cost() string {
	words := make([]string, len(c.price))
	for i, p := range c.price {
		words[i] = p.text
	}
	return strings.Join(words, "; ")
}

// offer plans the run with a change; not ok where the change cannot be made or saves nothing.
func (r *Run) offer(device compute.Info, c change) (o Saving, ok bool, err error) {
	v := r.with(c.apply)
	if len(v.config.faults()) > 0 {
		return o, false, nil
	}
	h, err := v.holdings(device)
	if err != nil {
		return o, false, err
	}
	m, err := h.batch(v.config.BatchSize)
	if err != nil {
		return o, false, err
	}
	p := r.plan
	o = Saving{Set: c.set, Cost: c.cost(), Total: m.Peak(), Saves: p.Memory.Peak() - m.Peak()}
	if p.Available > 0 {
		o.Fits = o.Total <= p.Available
		if o.LargestBatch, err = h.largestBatch(p.Available); err != nil {
			return o, false, err
		}
	}
	return o, o.Saves > 0, nil
}

// with is the run with another configuration, for plans: its rows cut, its batches laid out anew.
func (r *Run) with(apply func(*Config)) *Run {
	v := &Run{config: r.config, files: r.files, corpus: r.corpus, loader: r.loader, evaluation: r.evaluation, resuming: r.resuming, ranks: r.ranks}
	apply(&v.config)
	if v.config.MaxSeqLength != r.config.MaxSeqLength {
		v.corpus = r.corpus.cut(v.config.MaxSeqLength)
		v.makeLoaders()
	}
	return v
}

// cut is the corpus with all rows cut at so many tokens.
func (c *corpus) cut(length int) *corpus {
	short := func(samples []datasets.Sample) []datasets.Sample {
		out := slices.Clone(samples)
		for i := range out {
			n := min(len(out[i].Tokens), length)
			out[i].Tokens, out[i].Labels = out[i].Tokens[:n], out[i].Labels[:n]
		}
		return out
	}
	encoder := *c.encoder
	encoder.MaxSeqLength = length
	return &corpus{encoder: &encoder, train: short(c.train), validation: short(c.validation)}
}

// changes are the savings that this run could make, those that change its result least first.
func (r *Run) changes() []change {
	c := r.config
	var all []change
	add := func(possible bool, key string, value any, cost string, apply func(*Config)) {
		if possible {
			all = append(all, change{price: []price{{key, cost}}, set: map[string]any{key: value}, apply: apply})
		}
	}
	add(!c.GradCheckpointing, "gradient_checkpointing", true, "the same result; each block is computed twice, so a step takes about a third longer",
		func(c *Config) { c.GradCheckpointing = true })
	if !r.plan.Fits && c.BatchSize > 1 {
		all = append(all, smallerBatch(c, max(r.plan.LargestBatch, 1)))
	}
	add(!strings.Contains(c.Optim, "8bit"), "optim", "adamw_8bit", "moments are rounded to 8 bits",
		func(c *Config) { c.Optim = "adamw_8bit" })
	switch {
	case r.in4bit():
	case c.Method == MethodLoRA:
		all = append(all, change{
			price: []price{{"method", "the frozen weights are rounded to 4 bits"}},
			set:   map[string]any{"method": MethodQLoRA, "load_in_4bit": true},
			apply: func(c *Config) { c.Method, c.LoadIn4bit = MethodQLoRA, true },
		})
	default:
		add(c.Method != MethodFull, "load_in_4bit", true, "the frozen weights are rounded to 4 bits", func(c *Config) { c.LoadIn4bit = true })
	}
	all = append(all, r.shorterRows()...)
	lora := c.Method == MethodLoRA || c.Method == MethodQLoRA
	add(lora && c.LoRA.R > 1, "lora.r", c.LoRA.R/2, "half the trained parameters", func(c *Config) { c.LoRA.R /= 2 })
	add(c.Method == MethodFull, "method", MethodLoRA, "only an adapter is trained", func(c *Config) { c.Method = MethodLoRA })
	if c.Method == MethodFull && !r.in4bit() {
		all = append(all, change{
			price: []price{{"method", "only an adapter is trained, on frozen weights that are rounded to 4 bits"}},
			set:   map[string]any{"method": MethodQLoRA, "load_in_4bit": true},
			apply: func(c *Config) { c.Method, c.LoadIn4bit = MethodQLoRA, true },
		})
	}
	return all
}

// smallerBatch lowers the batch size to its largest divisor within limit, so that accumulation makes the same steps of the
// smaller pieces.
func smallerBatch(c Config, limit int) change {
	b := min(c.BatchSize, limit)
	for c.BatchSize%b != 0 {
		b--
	}
	accum := c.GradAccum * c.BatchSize / b
	return change{
		price: []price{{"per_device_train_batch_size", "the same steps over the same rows, in smaller pieces"}},
		set:   map[string]any{"per_device_train_batch_size": b, "gradient_accumulation_steps": accum},
		apply: func(c *Config) { c.BatchSize, c.GradAccum = b, accum },
	}
}

// shortest is the least max_seq_length that leaves every row a token to train on, without which the run would be refused.
func (c *corpus) shortest() int {
	least := 2
	for _, samples := range [][]datasets.Sample{c.train, c.validation} {
		for _, s := range samples {
			for i := 1; i < len(s.Labels); i++ {
				if s.Labels[i] != datasets.IgnoreIndex {
					least = max(least, i+1)
					break
				}
			}
		}
	}
	return least
}

// shorterRows offers max_seq_length at the 99th and 95th percentile of the rows' lengths, and at half of the longest.
func (r *Run) shorterRows() []change {
	least := r.corpus.shortest()
	lengths := make([]int, len(r.corpus.train))
	for i, s := range r.corpus.train {
		lengths[i] = len(s.Tokens)
	}
	slices.Sort(lengths)
	n := len(lengths)
	longest := lengths[n-1]
	var all []change
	last := longest
	for _, at := range []int{lengths[(n-1)*99/100], lengths[(n-1)*95/100], longest / 2} {
		if at >= last || at < least {
			continue
		}
		last = at
		first, _ := slices.BinarySearch(lengths, at+1)
		all = append(all, change{
			price: []price{{"max_seq_length", fmt.Sprintf("%d of %d rows are cut at the right: their ends are not learnt", n-first, n)}},
			set:   map[string]any{"max_seq_length": at},
			apply: func(c *Config) { c.MaxSeqLength = at },
		})
	}
	return all
}
