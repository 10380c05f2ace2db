// Package widget draws the parts that panes are made of: tables, lists,
// gauges, frames, tabs, help and status lines.
//
// A widget is a pure function or a small struct with View(width, height). The
// string it returns has exactly height lines, each exactly width cells wide,
// so that callers join blocks without measuring them again. Widgets know no
// program and no goroutine; they draw through [lathe/themes] alone, in runs:
// cells of the same pen share one escape sequence.
//
// Whoever draws text that a user, a file or a model wrote passes it through
// [Sanitize] or [SanitizeLines] first. Line.Add and Table cells do so
// themselves.
package widget
