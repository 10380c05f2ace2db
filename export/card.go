package export

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v4"

	"lathe/datasets"
	"lathe/trainer"
)

// cardFile is the model card's name.
const cardFile = "README.md"

// writeCard writes the model card: what the Hub reads in its front matter, and for people what this is made of.
func (j *job) writeCard() error {
	data, err := j.dataFiles()
	if err != nil {
		return err
	}
	front, err := yaml.Marshal(j.frontMatter(data))
	if err != nil {
		return fmt.Errorf("write %s: %w", cardFile, err)
	}
	c := &card{}
	c.line("---\n%s---", front)
	c.title(j)
	c.adapter(j)
	c.run(j.about.run)
	c.data(j.about.run, data)
	c.metrics(j.about.run)
	c.check(j.report)
	c.licence(j)
	c.usage(j)
	return writeNew(filepath.Join(j.temp, cardFile), []byte(c.String()))
}

// frontMatter is what the Hub reads. It takes ids of the Hub for base_model and refuses paths, so that a base without one
// is left out.
type frontMatter struct {
	BaseModel   string       `yaml:"base_model,omitempty"`
	Relation    string       `yaml:"base_model_relation,omitempty"`
	Library     string       `yaml:"library_name"`
	Pipeline    string       `yaml:"pipeline_tag"`
	License     string       `yaml:"license,omitempty"`
	LicenseName string       `yaml:"license_name,omitempty"`
	LicenseLink string       `yaml:"license_link,omitempty"`
	Tags        []string     `yaml:"tags"`
	TrainedOn   []fileDigest `yaml:"training_data,omitempty"`
	ModelIndex  []modelIndex `yaml:"model-index,omitempty"`
}

type fileDigest struct {
	File   string `yaml:"file"`
	SHA256 string `yaml:"sha256"`
	Rows   int    `yaml:"rows"`
}

// modelIndex is the Hub's form of results.
type modelIndex struct {
	Name    string   `yaml:"name"`
	Results []result `yaml:"results"`
}

type result struct {
	Task    map[string]string `yaml:"task"`
	Dataset map[string]string `yaml:"dataset"`
	Metrics []metric          `yaml:"metrics"`
}

type metric struct {
	Type  string  `yaml:"type"`
	Value float64 `yaml:"value"`
	Name  string  `yaml:"name"`
}

func (j *job) frontMatter(data []dataFile) frontMatter {
	l := j.about.licence
	f := frontMatter{
		BaseModel: j.about.hubID, Library: "peft", Relation: "adapter", Pipeline: "text-generation", LicenseLink: l.Link,
		Tags: []string{"lathe", "text-generation", j.about.kind},
	}
	switch {
	case j.report.Format == FormatMerged:
		f.Library, f.Relation = "transformers", "finetune"
	case j.about.kind == kindBottleneck:
		f.Library = "adapter-transformers"
	}
	if f.BaseModel == "" {
		f.Relation = ""
	} else {
		f.Tags = append(f.Tags, "base_model:"+f.Relation+":"+f.BaseModel)
	}
	switch {
	case l.ID != "" && hubLicences[l.ID]:
		f.License = l.ID
	case l.Stated != "":
		f.License, f.LicenseName = "other", first(l.ID, l.Stated)
	}
	for _, d := range data {
		if d.sum != "" && d.role == "train_file" {
			f.TrainedOn = append(f.TrainedOn, fileDigest{filepath.Base(d.path), d.sum, d.rows})
		}
	}
	if run := j.about.run; run != nil && len(run.History.Evals) > 0 {
		e := run.History.Evals[len(run.History.Evals)-1]
		f.ModelIndex = []modelIndex{{Name: filepath.Base(j.options.Out), Results: []result{{
			Task:    map[string]string{"type": "text-generation"},
			Dataset: map[string]string{"name": "validation rows of the run", "type": "local"},
			Metrics: []metric{{"loss", e.EvalLoss, "eval_loss"}, {"perplexity", math.Exp(e.EvalLoss), "perplexity"}},
		}}}}
	}
	return f
}

// hubLicences are the identifiers of the licence table that the Hub knows too.
var hubLicences = map[string]bool{
	"apache-2.0": true, "mit": true, "bsd-3-clause": true, "llama2": true, "llama3": true, "llama3.1": true, "llama3.2": true,
	"llama3.3": true, "gemma": true, "cc-by-4.0": true, "cc-by-sa-4.0": true, "cc-by-nc-4.0": true, "cc-by-nc-sa-4.0": true,
	"cc-by-nc-nd-4.0": true, "bigscience-bloom-rail-1.0": true, "bigscience-openrail-m": true, "creativeml-openrail-m": true,
	"bigcode-openrail-m": true,
}

func first(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}

// dataFile is a file that the run was trained or evaluated on, as it lies there now.
type dataFile struct {
	role, path, sum string
	rows            int
	problem         string
}

// dataFiles reads the run's data files for their digests; one that is gone is named as such.
func (j *job) dataFiles() (files []dataFile, err error) {
	if j.about.run == nil {
		return nil, nil
	}
	c := j.about.run.Config
	add := func(role string, paths []string) {
		for _, path := range paths {
			if err == nil {
				var d dataFile
				d, err = j.digest(role, path, c)
				files = append(files, d)
			}
		}
	}
	add("train_file", c.TrainFile)
	add("validation_file", c.ValidationFile)
	return files, err
}

func (j *job) digest(role, path string, c trainer.Config) (dataFile, error) {
	d := dataFile{role: role, path: path}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.problem = "not there any more when this was written"
		return d, nil
	case err != nil || !info.Mode().IsRegular():
		d.problem = "could not be read when this was written"
		return d, nil
	}
	in, err := os.Open(path)
	if err != nil {
		d.problem = "could not be read when this was written"
		return d, nil
	}
	defer in.Close()
	h := sha256.New()
	if _, err := io.Copy(h, &checked{j, in}); err != nil {
		return d, err
	}
	d.sum = hex.EncodeToString(h.Sum(nil))
	format, err := datasets.ParseFormat(c.Format)
	if err != nil {
		return d, err
	}
	rows, err := datasets.Open(path, datasets.Options{Format: format, Columns: c.Columns.Columns()})
	if err != nil {
		d.problem = "its rows could not be counted"
		return d, nil
	}
	defer rows.Close()
	if err := rows.Wait(j.ctx); err != nil {
		return d, err
	}
	d.rows = rows.Len()
	return d, nil
}

// checked ends a long read with the context.
type checked struct {
	job *job
	r   io.Reader
}

func (c *checked) Read(p []byte) (int, error) {
	if err := c.job.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// card is Markdown under way.
type card struct{ strings.Builder }

func (c *card) line(format string, args ...any) { fmt.Fprintf(c, format+"\n", args...) }

func (c *card) heading(text string) { c.line("\n## %s\n", text) }

// row is a line of a two-column table; an empty value is left out.
func (c *card) row(key string, value any) {
	if text := fmt.Sprint(value); text != "" {
		c.line("| %s | %s |", key, strings.ReplaceAll(text, "|", "\\|"))
	}
}

func (c *card) table(columns ...string) {
	c.line("| %s |\n|%s", strings.Join(columns, " | "), strings.Repeat(" --- |", len(columns)))
}
