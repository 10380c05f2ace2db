// Package tui is the workbench: tabs of panes in front of a session, one key table, a command line, dialogs and a status bar.
//
// The root model knows nothing of training. It draws what a [session.View] says, turns keys into session commands by one
// table ([global] rows and the focused pane's), and asks panes to draw themselves. A pane is drawn anew only when the View's
// version, its size, its focus or its own state has changed.
//
// # Frames
//
// Only a mailbox lies between the session and the screen. A command of the program waits for it, at most ten times a second,
// twice when the line is slow or the terminal is out of sight, and brings one message with the newest View. When nothing
// changes nothing is sent and nothing is written. A terminal that stalls stops the program, never the trainer.
package tui
