// Command gallery prints every widget in a theme, to be looked at.
//
//	go run ./tools/gallery -theme light -page table -width 80 -height 24
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"

	"lathe/themes"

	"github.com/charmbracelet/colorprofile"
)

func main() {
	theme := flag.String("theme", "auto", "theme")
	page := flag.String("page", "", "page: "+strings.Join(pageNames(), ", ")+"; all unless set")
	width := flag.Int("width", 120, "columns")
	height := flag.Int("height", 40, "rows")
	ascii := flag.Bool("ascii", false, "plain characters")
	colors := flag.Int("colors", 1<<24, "colours of the terminal: 0, 16, 256 or more")
	flag.Parse()
	profile := colorprofile.TrueColor
	switch {
	case *colors < 16 || themes.NoColor(os.Environ()):
		profile = colorprofile.ASCII
	case *colors < 256:
		profile = colorprofile.ANSI
	case *colors == 256:
		profile = colorprofile.ANSI256
	}
	th, err := themes.New(themes.Options{Name: *theme, Profile: profile, ASCII: *ascii})
	if err != nil {
		fmt.Fprintln(os.Stderr, "gallery:", err)
		os.Exit(2)
	}
	shown := false
	for _, p := range pages {
		if *page == "" || *page == p.name {
			fmt.Println(p.draw(th, *width, *height))
			shown = true
		}
	}
	if !shown {
		fmt.Fprintf(os.Stderr, "gallery: page %q is unknown; known are %s\n", *page, strings.Join(pageNames(), ", "))
		os.Exit(2)
	}
}
