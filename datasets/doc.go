// Package datasets reads fine-tuning data, checks it and turns it into batches.
//
// A sample's journey: [Open] indexes a file in the background and hands out one
// [Row] at a time with its line number and its bytes as they are; [Lint] walks
// rows and yields a [Finding] for each fault; an [Encoder] renders a row through
// the model's chat template, tokenises it once and masks what is not to be
// learnt ([Sample]); a [Loader] packs and orders samples into flat, padding-free
// micro-batches ([Batch]) as a pure function of (seed, epoch, step).
//
// No schema is inferred for a whole file: the format is detected row by row, so
// that files of mixed rows stay viewable. No row is dropped silently: what
// cannot be used is a [RowError] naming file, line and reason.
package datasets
