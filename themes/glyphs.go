package themes

// Glyphs are the signs that are not letters. There are two sets: Unicode, and
// plain ASCII for terminals, fonts and transports (mosh, serial lines) that
// garble the other. Every string is one cell wide.
type Glyphs struct {
	Horizontal, Vertical                           string // frame
	TopLeft, TopRight, BottomLeft, BottomRight     string
	TeeLeft, TeeRight, TeeUp, TeeDown, Cross       string
	Ellipsis, Bullet, Dot, Pointer, Check, Times   string
	Warning, Up, Down, Left, Right                 string
	Space, Newline, Tab                            string // white space made visible
	BarFull, BarHalf, BarTrack                     string // progress
	Thumb, Rail                                    string // scroll bar
	GridV, Crosshair                               string // chart: line of a marker, of the crosshair
	Pause, Resume, Checkpoint, Eval, Note, Missing string // chart markers; Missing is NaN or Inf
	Swatch                                         string // legend sample of a line
	Fills                                          [6]string
	Spark                                          []string // rising
	Spinner                                        []string
	Marks                                          [6]string // one for each series, in ASCII charts
}

var unicodeGlyphs = Glyphs{
	Horizontal: "─", Vertical: "│",
	TopLeft: "╭", TopRight: "╮", BottomLeft: "╰", BottomRight: "╯",
	TeeLeft: "┤", TeeRight: "├", TeeUp: "┴", TeeDown: "┬", Cross: "┼",
	Ellipsis: "…", Bullet: "•", Dot: "·", Pointer: "▸", Check: "✓", Times: "✗",
	Warning: "▲", Up: "↑", Down: "↓", Left: "←", Right: "→",
	Space: "·", Newline: "⏎", Tab: "→",
	BarFull: "━", BarHalf: "╸", BarTrack: "─",
	Thumb: "┃", Rail: "│",
	GridV: "┊", Crosshair: "│",
	Pause: "‖", Resume: "▸", Checkpoint: "◆", Eval: "○", Note: "▾", Missing: "×",
	Swatch:  "━",
	Fills:   [6]string{"█", "█", "█", "█", "█", "█"},
	Spark:   []string{"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"},
	Spinner: []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"},
	Marks:   [6]string{"*", "o", "+", "x", "#", "@"},
}

// monoFills tell the parts of a stacked gauge apart without colour.
var monoFills = [6]string{"█", "▓", "▒", "░", "▚", "▞"}

var asciiGlyphs = Glyphs{
	Horizontal: "-", Vertical: "|",
	TopLeft: "+", TopRight: "+", BottomLeft: "+", BottomRight: "+",
	TeeLeft: "+", TeeRight: "+", TeeUp: "+", TeeDown: "+", Cross: "+",
	Ellipsis: "~", Bullet: "*", Dot: ".", Pointer: ">", Check: "v", Times: "x",
	Warning: "!", Up: "^", Down: "v", Left: "<", Right: ">",
	Space: ".", Newline: "$", Tab: ">",
	BarFull: "=", BarHalf: "-", BarTrack: ".",
	Thumb: "#", Rail: "|",
	GridV: ":", Crosshair: "|",
	Pause: "P", Resume: "R", Checkpoint: "C", Eval: "E", Note: "!", Missing: "x",
	Swatch:  "=",
	Fills:   [6]string{"#", "=", "+", "%", "o", "x"},
	Spark:   []string{"_", ".", "-", "=", "+", "*", "%", "#"},
	Spinner: []string{"|", "/", "-", "\\"},
	Marks:   [6]string{"*", "o", "+", "x", "#", "@"},
}
