// Package session is a workspace at work: it takes commands, drives the trainer, journals what happened and tells whoever
// listens. The terminal interface, the headless commands and the demo all stand in front of this one package.
//
// # One goroutine
//
// Everything that changes state runs on the session's own goroutine, in the order of its queue. Commands are answered at
// once ("pausing"), never when the work is done. Training runs on a goroutine of its own and posts its events to the queue,
// which never blocks: a stalled terminal cannot slow a step.
//
// # Journal and view
//
// What happened is an [Event]. An event is first written to the workspace's SQLite journal, then folded into the [View],
// then listeners are woken. A View is everything that a screen shows, and it is nothing but the fold of the journal's
// events: replaying them rebuilds any screen, today's or last week's.
//
// # Listeners
//
// A [Listener] is a latest-value mailbox: it is woken when the View changed and takes the newest one when it has time.
// Nothing queues up for a slow reader, and nothing is lost to it, for the View holds the whole history.
package session
