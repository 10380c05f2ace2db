package themes

// Token names what a cell of the screen means.
type Token uint8

// None is the terminal's own default colour.
const None Token = iota

// Surfaces: backgrounds, used in Pen.BG.
const (
	Base   Token = iota + 1 // the screen itself
	Panel                   // raised surfaces: dialogs, status bar
	Select                  // the row under the cursor in a focused list
	Cursor                  // the cell under the cursor, an active tab

	// TrainedA and TrainedB are the two shades that alternate behind
	// neighbouring trained tokens; MaskedA and MaskedB behind masked ones.
	TrainedA
	TrainedB
	MaskedA
	MaskedB
)

// Inks: foregrounds. Text tokens reach a contrast of 4.5 on Base and on Panel.
const (
	Text     Token = iota + 10 // what is read
	Muted                      // labels, units, secondary text
	Faint                      // rules, placeholders, the raw curve behind a smoothed one
	Title                      // pane titles and headings
	Accent                     // lathe's own colour: focus, keys, the brand
	OnCursor                   // text on Cursor
	OnSelect                   // text on Select

	Good // done, passed, fits
	Warn // look at this
	Bad  // failed, does not fit, NaN
	Info // neutral news

	Trained // a token that takes part in the loss
	Masked  // a token that is only read
	Special // control tokens: <s>, <|eot_id|>

	Border      // frame of a pane
	BorderFocus // frame of the pane that takes the keys
	Track       // the empty part of a gauge, a scroll bar's rail
	Grid        // grid and marker lines of a chart
)

// Series are the data colours of charts and stacked gauges, in the order in
// which they are handed out.
const (
	Series1 Token = iota + 40
	Series2
	Series3
	Series4
	Series5
	Series6
)

// Heat0 … Heat7 are backgrounds from cold (low) to hot (high); HeatInk0 …
// HeatInk7 are the foregrounds to be read on them.
const (
	Heat0 Token = iota + 50
	Heat1
	Heat2
	Heat3
	Heat4
	Heat5
	Heat6
	Heat7
)

// The inks of the heat ramp's backgrounds, which share their order.
const (
	HeatInk0 Token = iota + 60
	HeatInk1
	HeatInk2
	HeatInk3
	HeatInk4
	HeatInk5
	HeatInk6
	HeatInk7
)

// NumTokens bounds the token values.
const NumTokens = 70

// NumSeries and NumHeat are the lengths of the two ramps.
const (
	NumSeries = 6
	NumHeat   = 8
)

// Series is the i-th data colour, counted from 0 and wrapping around.
func Series(i int) Token {
	i %= NumSeries
	if i < 0 {
		i += NumSeries
	}
	return Series1 + Token(i)
}

// Heat maps v in [0, 1] to the pen of the heat ramp; values outside are
// clamped, NaN has no heat and gives the masked pen.
func Heat(v float64) Pen {
	if v != v {
		return Pen{FG: Masked}
	}
	v = min(max(v, 0), 1)
	i := Token(min(int(v*NumHeat), NumHeat-1))
	return Pen{FG: HeatInk0 + i, BG: Heat0 + i}
}

// Attr are text attributes, combined by or.
type Attr uint8

// The attributes.
const (
	Bold Attr = 1 << iota
	Dim
	Italic
	Underline
	Reverse
	Strike
)

// Pen is how a run of cells is drawn. The zero Pen is the terminal's default.
type Pen struct {
	FG, BG Token
	Attr   Attr
}

// FG makes a pen of a foreground and attributes.
func FG(t Token, attrs ...Attr) Pen {
	p := Pen{FG: t}
	for _, a := range attrs {
		p.Attr |= a
	}
	return p
}

// On is p on the background bg.
func (p Pen) On(bg Token) Pen { p.BG = bg; return p }

// With is p with more attributes.
func (p Pen) With(a Attr) Pen { p.Attr |= a; return p }
