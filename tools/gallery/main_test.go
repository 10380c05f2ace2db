package main

import (
	"fmt"
	"strings"
	"testing"

	"lathe/themes"

	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"
)

// Every page keeps its size in every theme, from the smallest terminal on.
func TestPages(t *testing.T) {
	for _, p := range themes.Palettes() {
		for _, profile := range []colorprofile.Profile{colorprofile.TrueColor, colorprofile.ANSI} {
			th := themes.Must(themes.Options{Name: p.Name, Profile: profile, ASCII: p.Mono})
			for _, pg := range pages {
				for _, s := range [][2]int{{80, 24}, {120, 40}, {200, 60}} {
					t.Run(fmt.Sprintf("%s/%v/%s/%d", p.Name, profile, pg.name, s[0]), func(t *testing.T) {
						view := pg.draw(th, s[0], s[1])
						lines := strings.Split(view, "\n")
						width := 0
						for _, l := range lines {
							width = max(width, ansi.StringWidth(l))
						}
						if width != s[0] || len(lines) != s[1] {
							t.Errorf("page is %d×%d, want %d×%d", width, len(lines), s[0], s[1])
						}
					})
				}
			}
		}
	}
}
