// Package themes holds lathe's palettes and turns them into what a terminal
// can show.
//
// A palette is data: one [Ink] for each semantic [Token]. Widgets name tokens
// (Accent, Trained, Series1 …), never colours, so that a theme, a terminal of
// 16 colours, NO_COLOR and --ascii are settled here and nowhere else.
// [New] joins a palette, a colour profile and a set of glyphs into a [Theme],
// whose escape sequences and lipgloss styles are built once.
package themes
