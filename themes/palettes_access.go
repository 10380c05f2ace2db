package themes

// colorblind uses the hues of Okabe and Ito ("Color Universal Design", 2008),
// lightened for a dark screen: nothing is told by red against green. Good and
// trained are blue, bad is vermilion.
var colorblind = Palette{
	Name: "colorblind", Doc: "Okabe–Ito hues, safe for colour-blind eyes", Dark: true,
	Inks: [NumTokens]Ink{
		Base:     {0x13161b, ansiDefault, 0},
		Panel:    {0x1c2027, ansiDefault, 0},
		Select:   {0x2b3240, brightBlack, 0},
		Cursor:   {0xf0e442, brightYellow, 0},
		TrainedA: {0x122c40, ansiDefault, 0},
		TrainedB: {0x193b55, ansiDefault, 0},
		MaskedA:  {0x1a1e24, ansiDefault, 0},
		MaskedB:  {0x23282f, ansiDefault, 0},

		Text:     {0xdde1e7, ansiDefault, 0},
		Muted:    {0x98a0af, white, 0},
		Faint:    {0x6e7687, brightBlack, 0},
		Title:    {0xf2f4f7, brightWhite, Bold},
		Accent:   {0xf0e442, brightYellow, 0},
		OnCursor: {0x13161b, black, 0},
		OnSelect: {0xf3f5f8, brightWhite, 0},

		Good: {0x56b4e9, brightBlue, 0},
		Warn: {0xe69f00, yellow, 0},
		Bad:  {0xf47f3c, brightRed, Bold},
		Info: {0xa9b6c8, brightWhite, 0},

		Trained: {0x74c3f0, brightCyan, 0},
		Masked:  {0x8f97a6, white, 0},
		Special: {0xe08ec0, brightMagenta, 0},

		Border:      {0x5f6778, brightBlack, 0},
		BorderFocus: {0xf0e442, brightYellow, 0},
		Track:       {0x5f6778, brightBlack, 0},
		Grid:        {0x5f6778, brightBlack, 0},

		Series1: {0x56b4e9, brightBlue, 0},
		Series2: {0xe69f00, yellow, 0},
		Series3: {0x1fb48a, green, 0},
		Series4: {0xe08ec0, brightMagenta, 0},
		Series5: {0xf0e442, brightYellow, 0},
		Series6: {0xf47f3c, brightRed, 0},

		// The cividis ramp (Nuñez, Anderton, Renslow 2018): lightness alone
		// orders it.
		Heat0: {0x00224e, ansiDefault, 0}, HeatInk0: {0xffffff, ansiDefault, 0},
		Heat1: {0x1d3a6b, blue, 0}, HeatInk1: {0xffffff, brightWhite, 0},
		Heat2: {0x44506c, brightBlack, 0}, HeatInk2: {0xffffff, brightWhite, 0},
		Heat3: {0x62656f, brightBlue, 0}, HeatInk3: {0xffffff, black, 0},
		Heat4: {0x828079, white, 0}, HeatInk4: {0x000000, black, 0},
		Heat5: {0xa59c74, yellow, 0}, HeatInk5: {0x000000, black, 0},
		Heat6: {0xcbba69, brightYellow, 0}, HeatInk6: {0x000000, black, 0},
		Heat7: {0xfee838, brightWhite, 0}, HeatInk7: {0x000000, black, 0},
	},
}

// contrast is for low vision and for projectors: pure colours on black.
var contrast = Palette{
	Name: "contrast", Doc: "high contrast on black", Dark: true,
	Inks: [NumTokens]Ink{
		Base:     {0x000000, ansiDefault, 0},
		Panel:    {0x101010, ansiDefault, 0},
		Select:   {0x002f73, blue, 0},
		Cursor:   {0xffff00, brightYellow, 0},
		TrainedA: {0x003d10, ansiDefault, 0},
		TrainedB: {0x005518, ansiDefault, 0},
		MaskedA:  {0x181818, ansiDefault, 0},
		MaskedB:  {0x2a2a2a, ansiDefault, 0},

		Text:     {0xffffff, brightWhite, 0},
		Muted:    {0xd0d0d0, white, 0},
		Faint:    {0xa8a8a8, white, 0},
		Title:    {0xffffff, brightWhite, Bold},
		Accent:   {0xffff00, brightYellow, Bold},
		OnCursor: {0x000000, black, Bold},
		OnSelect: {0xffffff, brightWhite, Bold},

		Good: {0x3dff6e, brightGreen, 0},
		Warn: {0xffd000, brightYellow, 0},
		Bad:  {0xff7a7a, brightRed, Bold},
		Info: {0x66ccff, brightCyan, 0},

		Trained: {0x5cff85, brightGreen, 0},
		Masked:  {0xc8c8c8, white, 0},
		Special: {0xff9cff, brightMagenta, Bold},

		Border:      {0xb0b0b0, white, 0},
		BorderFocus: {0xffff00, brightYellow, Bold},
		Track:       {0x8a8a8a, brightBlack, 0},
		Grid:        {0x8a8a8a, brightBlack, 0},

		Series1: {0x66ccff, brightCyan, 0},
		Series2: {0xffd000, brightYellow, 0},
		Series3: {0x3dff6e, brightGreen, 0},
		Series4: {0xff9cff, brightMagenta, 0},
		Series5: {0xffffff, brightWhite, 0},
		Series6: {0xff7a7a, brightRed, 0},

		Heat0: {0x1a1a1a, ansiDefault, 0}, HeatInk0: {0xffffff, brightWhite, 0},
		Heat1: {0x002f8f, blue, 0}, HeatInk1: {0xffffff, brightWhite, 0},
		Heat2: {0x006a6a, cyan, 0}, HeatInk2: {0xffffff, black, 0},
		Heat3: {0x006b1e, green, 0}, HeatInk3: {0xffffff, black, 0},
		Heat4: {0xa8d800, brightGreen, 0}, HeatInk4: {0x000000, black, 0},
		Heat5: {0xffe000, brightYellow, 0}, HeatInk5: {0x000000, black, 0},
		Heat6: {0xff9a00, yellow, 0}, HeatInk6: {0x000000, black, 0},
		Heat7: {0xff5a5a, brightRed, 0}, HeatInk7: {0x000000, black, 0},
	},
}

// mono has no colour: it is what NO_COLOR selects, and what a terminal
// without colour gets. Attributes carry the meaning.
var mono = Palette{
	Name: "mono", Doc: "no colour: bold, dim, underline, reverse", Dark: true, Mono: true,
	Inks: [NumTokens]Ink{
		Select: {Attr: Reverse},
		Cursor: {Attr: Reverse | Bold},

		Muted: {Attr: Dim}, Faint: {Attr: Dim}, Title: {Attr: Bold}, Accent: {Attr: Bold},
		Good: {Attr: Bold}, Warn: {Attr: Bold}, Bad: {Attr: Bold | Reverse},
		Trained: {Attr: Bold}, Masked: {Attr: Dim}, Special: {Attr: Underline},
		Border: {Attr: Dim}, BorderFocus: {Attr: Bold}, Track: {Attr: Dim}, Grid: {Attr: Dim},
		Series1: {Attr: Bold}, Series4: {Attr: Bold},

		Heat0: {Attr: Dim}, Heat4: {Attr: Underline}, Heat5: {Attr: Underline | Bold},
		Heat6: {Attr: Reverse}, Heat7: {Attr: Reverse | Bold},
	},
}
