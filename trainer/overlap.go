package trainer

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lathe/model/safetensors"
)

// checkOverlap refuses a run that would overwrite, move aside or remove what it reads: a model or an adapter that is output_dir
// or one of its checkpoints, and rows that have a name there which the run writes. Links and spellings are seen through.
func (c Config) checkOverlap() error {
	out, err := filepath.EvalSymlinks(c.OutputDir)
	if err != nil {
		return nil //nolint:nilerr // there is no such folder yet, so that nothing can lie in it
	}
	for _, in := range []struct{ key, path string }{
		{"model_name_or_path", c.ModelNameOrPath}, {"adapter_name_or_path", c.AdapterNameOrPath},
	} {
		for _, rel := range placesIn(out, in.path) {
			if rel == "." {
				return faultf(0, "output_dir: %s is the folder of %s too, which the result would overwrite; give another folder", c.OutputDir, in.key)
			}
			if first, _, _ := strings.Cut(rel, "/"); writesFolder(first) {
				return faultf(0, "%s: %s lies among the checkpoints of output_dir, which this run replaces; give another output_dir, or go on from it with --resume", in.key, in.path)
			}
		}
	}
	for _, in := range []struct {
		key   string
		paths []string
	}{{"train_file", c.TrainFile}, {"validation_file", c.ValidationFile}} {
		for _, path := range in.paths {
			for _, rel := range placesIn(out, path) {
				if first, _, below := strings.Cut(rel, "/"); writesFolder(first) || !below && writesFile(rel) {
					return faultf(0, "%s: %s has a name in output_dir that the run writes; move it, or give another output_dir", in.key, path)
				}
			}
		}
	}
	return nil
}

// placesIn gives a path relative to a folder that it lies in, or is: the path's own place, and what it links to.
func placesIn(folder, path string) (places []string) {
	if path == "" {
		return nil
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil
	}
	if folder, err = filepath.Abs(folder); err != nil {
		return nil
	}
	var spots []string
	if parent, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		spots = append(spots, filepath.Join(parent, filepath.Base(path)))
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		spots = append(spots, target)
	}
	for _, spot := range spots {
		if rel, err := filepath.Rel(folder, spot); err == nil && filepath.IsLocal(rel) {
			places = append(places, filepath.ToSlash(rel))
		}
	}
	return places
}

// writesFolder tells the folders that a run makes, moves or clears away in output_dir.
func writesFolder(name string) bool {
	_, checkpoint := checkpointStep(name)
	return checkpoint || name == stateDir || strings.HasPrefix(name, tempPrefix) || strings.HasPrefix(name, oldPrefix)
}

// writesFile tells the files that a run may write into output_dir itself.
func writesFile(name string) bool {
	return slices.Contains(modelFiles, name) || slices.Contains([]string{"config.json", "adapter_config.json"}, name) ||
		strings.HasSuffix(name, ".safetensors") || strings.HasSuffix(name, ".safetensors.index.json")
}

// foreignWeights refuses an output_dir without a checkpoint of ours that has weights in it: somebody else's model.
func foreignWeights(dir string) error {
	list, err := ListCheckpoints(dir)
	if err != nil || len(list) > 0 {
		return err
	}
	for _, name := range []string{safetensors.SingleFile, safetensors.IndexFile, safetensors.AdapterFile} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return faultf(0, "output_dir: %s holds a %s that is no result of lathe's, and would be overwritten; give another folder", dir, name)
		}
	}
	return nil
}
