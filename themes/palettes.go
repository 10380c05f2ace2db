package themes

// Ink is one colour of a palette: its 24-bit value, the colour of a 16-colour
// terminal that stands for it (ansiDefault leaves the terminal's own), and
// attributes that go with it.
type Ink struct {
	RGB  uint32
	ANSI int8
	Attr Attr
}

const ansiDefault = -1

// Palette is a theme as data.
type Palette struct {
	Name string
	Doc  string
	Dark bool // meant for a dark screen
	Mono bool // no colour at all: attributes carry the meaning
	Inks [NumTokens]Ink
}

// ANSI colour numbers, for the Ink.ANSI column.
const (
	black = iota
	red
	green
	yellow
	blue
	magenta
	cyan
	white
	brightBlack
	brightRed
	brightGreen
	brightYellow
	brightBlue
	brightMagenta
	brightCyan
	brightWhite
)

// Palettes are the themes that `--theme` knows, the default first.
func Palettes() []*Palette {
	return []*Palette{&dark, &light, &colorblind, &contrast, &mono}
}

// dark is the default: slate, with the copper of fresh swarf as accent.
var dark = Palette{
	Name: "dark", Doc: "slate and copper, for dark terminals", Dark: true,
	Inks: [NumTokens]Ink{
		Base:     {0x14171c, ansiDefault, 0},
		Panel:    {0x1d2128, ansiDefault, 0},
		Select:   {0x2b3240, brightBlack, 0},
		Cursor:   {0xe39a5f, yellow, 0},
		TrainedA: {0x16301f, ansiDefault, 0},
		TrainedB: {0x1e3f2a, ansiDefault, 0},
		MaskedA:  {0x1a1e24, ansiDefault, 0},
		MaskedB:  {0x23282f, ansiDefault, 0},

		Text:     {0xd5d9e0, ansiDefault, 0},
		Muted:    {0x939bab, white, 0},
		Faint:    {0x6b7385, brightBlack, 0},
		Title:    {0xeef0f4, brightWhite, Bold},
		Accent:   {0xe39a5f, yellow, 0},
		OnCursor: {0x14171c, black, 0},
		OnSelect: {0xf3f5f8, brightWhite, 0},

		Good: {0x86c98f, green, 0},
		Warn: {0xe3c65f, brightYellow, 0},
		Bad:  {0xf0787c, brightRed, 0},
		Info: {0x74b4e8, brightBlue, 0},

		Trained: {0x93d69d, green, 0},
		Masked:  {0x8b93a3, white, 0},
		Special: {0xc8a0f0, brightMagenta, 0},

		Border:      {0x5c6475, brightBlack, 0},
		BorderFocus: {0xe39a5f, yellow, 0},
		Track:       {0x5c6475, brightBlack, 0},
		Grid:        {0x5c6475, brightBlack, 0},

		Series1: {0x74b4e8, brightBlue, 0},
		Series2: {0xe39a5f, yellow, 0},
		Series3: {0x86c98f, green, 0},
		Series4: {0xc8a0f0, brightMagenta, 0},
		Series5: {0x5fcabf, brightCyan, 0},
		Series6: {0xf0869f, brightRed, 0},

		Heat0: {0x1f2a38, ansiDefault, 0}, HeatInk0: {0xffffff, ansiDefault, 0},
		Heat1: {0x23425c, blue, 0}, HeatInk1: {0xffffff, brightWhite, 0},
		Heat2: {0x2b5f63, cyan, 0}, HeatInk2: {0xffffff, black, 0},
		Heat3: {0x4b6b3f, green, 0}, HeatInk3: {0xffffff, black, 0},
		Heat4: {0x9c8a34, yellow, 0}, HeatInk4: {0x000000, black, 0},
		Heat5: {0xd18a3a, brightYellow, 0}, HeatInk5: {0x000000, black, 0},
		Heat6: {0xdd6a3c, brightRed, 0}, HeatInk6: {0x000000, black, 0},
		Heat7: {0xee5253, red, 0}, HeatInk7: {0x000000, brightWhite, 0},
	},
}

// light is for paper-white terminals.
var light = Palette{
	Name: "light", Doc: "ink and copper, for light terminals",
	Inks: [NumTokens]Ink{
		Base:     {0xfbfaf8, ansiDefault, 0},
		Panel:    {0xf0eeea, ansiDefault, 0},
		Select:   {0xdfe5ef, white, 0},
		Cursor:   {0x9c4a12, yellow, 0},
		TrainedA: {0xdff2e1, ansiDefault, 0},
		TrainedB: {0xcbe8cf, ansiDefault, 0},
		MaskedA:  {0xf3f2ee, ansiDefault, 0},
		MaskedB:  {0xe8e6e1, ansiDefault, 0},

		Text:     {0x2a2e36, ansiDefault, 0},
		Muted:    {0x5a6170, brightBlack, 0},
		Faint:    {0x858b98, brightBlack, 0},
		Title:    {0x14171c, ansiDefault, Bold},
		Accent:   {0x9c4a12, red, 0},
		OnCursor: {0xfbfaf8, brightWhite, 0},
		OnSelect: {0x14171c, black, 0},

		Good: {0x1d6b34, green, 0},
		Warn: {0x7a5600, magenta, 0},
		Bad:  {0xb0272f, red, 0},
		Info: {0x1b5e9c, blue, 0},

		Trained: {0x14602c, green, 0},
		Masked:  {0x5f6571, brightBlack, 0},
		Special: {0x7436a8, magenta, 0},

		Border:      {0x8b909c, brightBlack, 0},
		BorderFocus: {0x9c4a12, red, 0},
		Track:       {0x8b909c, brightBlack, 0},
		Grid:        {0x8b909c, brightBlack, 0},

		Series1: {0x1b5e9c, blue, 0},
		Series2: {0xb3561a, red, 0},
		Series3: {0x1d6b34, green, 0},
		Series4: {0x7436a8, magenta, 0},
		Series5: {0x0f6f6a, cyan, 0},
		Series6: {0xb02a5c, brightRed, 0},

		Heat0: {0xeef3f8, ansiDefault, 0}, HeatInk0: {0x000000, ansiDefault, 0},
		Heat1: {0xcfe2f3, brightCyan, 0}, HeatInk1: {0x000000, black, 0},
		Heat2: {0xbfe3d5, cyan, 0}, HeatInk2: {0x000000, black, 0},
		Heat3: {0xdcebae, green, 0}, HeatInk3: {0x000000, black, 0},
		Heat4: {0xf6df8c, brightYellow, 0}, HeatInk4: {0x000000, black, 0},
		Heat5: {0xf5bd72, yellow, 0}, HeatInk5: {0x000000, black, 0},
		Heat6: {0xf19467, brightRed, 0}, HeatInk6: {0x000000, black, 0},
		Heat7: {0xe86a6a, red, 0}, HeatInk7: {0x000000, brightWhite, 0},
	},
}
