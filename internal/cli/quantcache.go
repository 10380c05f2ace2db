package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"lathe/model"
)

// quantCacheVariable names another folder for weights in 4 bits, or is off.
const quantCacheVariable = "LATHE_QUANT_CACHE"

// quantCache is where weights that were quantised while they were read are kept; a model of 250 M parameters is the smallest.
func quantCache() model.QuantCache {
	dir := os.Getenv(quantCacheVariable)
	if dir == "off" {
		return model.QuantCache{}
	}
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil { // no home
			return model.QuantCache{}
		}
		dir = filepath.Join(cache, "lathe", "quantised")
	}
	return model.QuantCache{Dir: dir, MaxBytes: 16 << 30, MinBytes: 128 << 20}
}

// cacheCheck tells where weights in 4 bits are kept, and how to be rid of them.
func cacheCheck() checkup {
	c, q := checkup{Name: "cache", OK: true}, quantCache()
	if q.Dir == "" || runtime.GOOS != "linux" {
		c.Text = "none: a base in 4 bits is quantised at each start"
		return c
	}
	files, total := q.Held()
	c.Text = fmt.Sprintf("bases in 4 bits in %s, %s in %d files, at most %s; rm -r it to be rid of them, %s=off keeps none, %s=FOLDER keeps them elsewhere",
		q.Dir, bytesText(total), files, bytesText(q.MaxBytes), quantCacheVariable, quantCacheVariable)
	return c
}
