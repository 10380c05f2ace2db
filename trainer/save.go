package trainer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"lathe/compute"
	"lathe/model"
	"lathe/model/safetensors"
)

// Prefixes of folders that are not, or no longer, checkpoints. What a killed process leaves under them is cleaned away, or
// put back, by the next start: see cleanLeftovers.
const (
	tempPrefix = ".tmp-" // being written, or being removed
	oldPrefix  = ".old-" // a checkpoint that is being replaced by another of the same step
)

// save writes output_dir/checkpoint-N, unless it lies there already. When it cannot, the run fails, or waits for a Resume
// to try again; the earlier checkpoints are untouched.
func (r *Run) save(ctx context.Context) error {
	if !r.leads() {
		r.savedStep = r.state.Step
		return nil
	}
	return r.insist(ctx, func() error {
		if r.savedStep == r.state.Step {
			return nil
		}
		path := checkpointPath(r.config.OutputDir, r.state.Step)
		size, err := r.writeCheckpoint(path)
		if err != nil {
			return fmt.Errorf("save %s: %w", path, err)
		}
		r.savedStep = r.state.Step
		removed, err := r.rotate()
		r.emit(Saved{Step: r.state.Step, Path: path, Bytes: size, Removed: removed})
		if err != nil {
			r.emit(Notice{Step: r.state.Step, Message: err.Error()})
		}
		return nil
	})
}

// saveFinal writes a checkpoint, then makes its files those of output_dir itself. At every moment one of both is whole.
func (r *Run) saveFinal(ctx context.Context, reason string) error {
	if !r.leads() {
		return nil
	}
	saved := r.savedStep == r.state.Step
	if err := r.save(ctx); err != nil {
		return err
	}
	path := checkpointPath(r.config.OutputDir, r.state.Step)
	if err := r.insist(ctx, func() error { return promote(path, r.config.OutputDir) }); err != nil {
		return err
	}
	ended := reason == ReasonFinished || reason == ReasonEarlyStopping
	if ended && !saved && r.config.SaveStrategy == StrategyNo {
		return removeCheckpoint(path)
	}
	return nil
}

// insist does what must not fail. A run that others steer pauses with the error and tries again on Resume.
func (r *Run) insist(ctx context.Context, do func() error) error {
	for {
		err := do()
		if err == nil || !r.pauseOnSaveError || errors.As(err, new(*NonFiniteError)) {
			return err
		}
		r.control.Pause()
		r.emit(Paused{Step: r.state.Step, Error: err.Error()})
		for {
			w := r.control.take()
			if w.stop && !w.keep {
				return err
			}
			if !w.pause || w.stop {
				break
			}
			if r.listen(ctx); ctx.Err() != nil {
				return errors.Join(err, ctx.Err())
			}
		}
		r.emit(Resumed{Step: r.state.Step})
		if r.control.take().stop {
			return do() // one more try, then it has failed
		}
	}
}

// writeCheckpoint writes into a temporary folder beside path, syncs every file, and renames the folder.
func (r *Run) writeCheckpoint(path string) (size int64, err error) {
	if tensor, index := r.dev.FirstNonFinite(r.optimizer.values()); tensor >= 0 {
		return 0, &NonFiniteError{
			Step: r.state.Step, What: "it left a weight that is not finite: such weights are not saved", Layer: -1,
			Tensor: r.optimizer.params[tensor].Name, Index: index, RateScale: r.state.rateScale(),
		}
	}
	temp := filepath.Join(filepath.Dir(path), tempPrefix+filepath.Base(path))
	if err := os.RemoveAll(temp); err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(temp))
		}
	}()
	if err := os.MkdirAll(filepath.Join(temp, stateDir), 0o777); err != nil {
		return 0, err
	}
	if err := r.writeWeights(temp); err != nil {
		return 0, err
	}
	if err := r.writeOptimizer(filepath.Join(temp, optimizerFile)); err != nil {
		return 0, err
	}
	s := r.state
	s.Saved = time.Now().UTC().Truncate(time.Second)
	if err := writeJSON(filepath.Join(temp, stateFile), s); err != nil {
		return 0, err
	}
	if size, err = writeManifest(temp); err != nil {
		return 0, err
	}
	return size, replaceDir(temp, path)
}

// writeWeights writes the adapter as PEFT does, or the whole model in Hugging Face layout.
func (r *Run) writeWeights(dir string) error {
	if r.adapter != nil {
		return errors.Join(r.adapter.Save(dir), r.adapter.SaveState(filepath.Join(dir, adapterStateFile)))
	}
	if err := r.model.Save(dir); err != nil {
		return err
	}
	return copyModelFiles(r.files, dir)
}

// modelFiles belong to a model folder beside config.json and the weights.
var modelFiles = []string{
	"generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
	"tokenizer.model", "vocab.json", "merges.txt", "chat_template.jinja",
}

func copyModelFiles(files *model.Files, dir string) error {
	for _, name := range modelFiles {
		data, err := fs.ReadFile(files.FS(), name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), data, 0o666)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// writeOptimizer writes the moments byte for byte.
func (r *Run) writeOptimizer(path string) error {
	sources := make([]safetensors.Source, len(r.optimizer.moments))
	for i, m := range r.optimizer.moments {
		sources[i] = safetensors.Source{
			Name: m.name, DType: momentDType(m.buffer), Shape: []int64{int64(m.buffer.Len())},
			Data: func() ([]byte, error) {
				data := make([]byte, compute.ByteLen(m.buffer))
				r.dev.Download(data, m.buffer)
				return data, r.dev.Sync()
			},
		}
	}
	return safetensors.WriteSources(path, sources, nil)
}

func momentDType(b compute.Buffer) safetensors.DType {
	if b.DType() == compute.U8 {
		return safetensors.U8
	}
	return safetensors.F32
}

func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o666)
}

// writeManifest lists all files below dir, syncs them and their folders, and gives the sum of their sizes.
func writeManifest(dir string) (size int64, err error) {
	m := manifest{Version: stateVersion}
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		sum, err := hashFile(path)
		if err != nil {
			return err
		}
		size += info.Size()
		m.Files = append(m.Files, manifestItem{Name: filepath.ToSlash(name), Size: info.Size(), SHA256: sum})
		return syncPath(path)
	})
	if err != nil {
		return 0, err
	}
	path := filepath.Join(dir, manifestFile)
	if err := writeJSON(path, m); err != nil {
		return 0, err
	}
	return size, errors.Join(syncPath(path), syncPath(filepath.Join(dir, stateDir)), syncPath(dir))
}

// syncPath makes a file or a folder's names survive a power cut.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// replaceDir renames temp to path. A folder that lies there is moved aside first, and removed last.
func replaceDir(temp, path string) error {
	parent, name := filepath.Split(path)
	old := filepath.Join(parent, oldPrefix+name)
	if _, err := os.Lstat(path); err == nil {
		if err := os.RemoveAll(old); err != nil {
			return err
		}
		if err := os.Rename(path, old); err != nil {
			return err
		}
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(err, ignoreMissing(os.Rename(old, path)))
	}
	return errors.Join(syncPath(filepath.Clean(parent)), os.RemoveAll(old))
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// removeCheckpoint renames before it removes, so that a kill leaves a leftover and no damaged checkpoint.
func removeCheckpoint(path string) error {
	parent, name := filepath.Split(path)
	temp := filepath.Join(parent, tempPrefix+name)
	if err := os.RemoveAll(temp); err != nil {
		return fmt.Errorf("remove checkpoint: %w", err)
	}
	if err := os.Rename(path, temp); err != nil {
		return fmt.Errorf("remove checkpoint: %w", err)
	}
	if err := os.RemoveAll(temp); err != nil {
		return fmt.Errorf("remove checkpoint: %w", err)
	}
	return nil
}

// rotate removes the oldest checkpoints beyond save_total_limit, never the best nor the newest whole one.
func (r *Run) rotate() (removed []string, err error) {
	limit := r.config.SaveTotalLimit
	if limit == 0 {
		return nil, nil
	}
	list, err := ListCheckpoints(r.config.OutputDir)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(c Checkpoint) bool { return c.Final || c.Problem != "" })
	excess := len(list) - limit
	for i, c := range list {
		best := r.state.Best != nil && c.Step == r.state.Best.Step
		if excess <= 0 || i == len(list)-1 {
			break
		}
		if best || c.Step == r.state.Step {
			continue
		}
		if err := removeCheckpoint(c.Path); err != nil {
			return removed, err
		}
		removed = append(removed, c.Path)
		excess--
	}
	return removed, nil
}

// promote makes a whole checkpoint's files those of dir itself: every file appears whole, the state last.
func promote(checkpoint, dir string) error {
	m, err := readManifest(checkpoint)
	if err != nil {
		return fmt.Errorf("write final state: %w", err)
	}
	temp := filepath.Join(dir, tempPrefix+stateDir)
	if err := errors.Join(os.RemoveAll(temp), os.MkdirAll(temp, 0o777)); err != nil {
		return fmt.Errorf("write final state: %w", err)
	}
	for _, f := range append(m.Files, manifestItem{Name: manifestFile}) {
		from := filepath.Join(checkpoint, filepath.FromSlash(f.Name))
		if name, ok := strings.CutPrefix(f.Name, stateDir+"/"); ok {
			err = linkOrCopy(from, filepath.Join(temp, name))
		} else if err = linkOrCopy(from, filepath.Join(dir, tempPrefix+f.Name)); err == nil {
			err = renameOver(filepath.Join(dir, tempPrefix+f.Name), filepath.Join(dir, f.Name))
		}
		if err != nil {
			return fmt.Errorf("write final state: %w", err)
		}
	}
	if err := errors.Join(syncPath(temp), replaceDir(temp, filepath.Join(dir, stateDir))); err != nil {
		return fmt.Errorf("write final state: %w", err)
	}
	return nil
}

// renameOver renames a file. Where both names are links to one file, as after a kill between two of these, POSIX leaves both:
// the first one then has to go by itself.
func renameOver(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return ignoreMissing(os.Remove(from))
}

// linkOrCopy gives a file a second name, or copies it where the file system has no links.
func linkOrCopy(from, to string) error {
	if err := ignoreMissing(os.Remove(to)); err != nil {
		return err
	}
	if os.Link(from, to) == nil {
		return nil
	}
	return copyFile(from, to)
}
