package session

// State is where a run is.
type State string

// The states. A run goes from Starting to Running; Pausing and Paused lead back to Running; Stopping leads to Stopped.
// Done, Stopped and Failed are ends, after which the model stays in memory until the next run.
const (
	Idle     State = "idle"
	Starting State = "preparing"
	Running  State = "running"
	Pausing  State = "pausing"
	Paused   State = "paused"
	Stopping State = "stopping"
	Stopped  State = "stopped"
	Done     State = "done"
	Failed   State = "failed"
)

// Training tells whether a trainer is at work or waits at a step's end.
func (s State) Training() bool { return s == Running || s == Pausing || s == Paused }

// Active tells whether the run has not come to its end.
func (s State) Active() bool { return s.Training() || s == Starting || s == Stopping }
