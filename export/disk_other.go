//go:build !unix

package export

import "os"

func lockDir(string) (*os.File, error) { return nil, nil }

func diskFree(string) (int64, bool) { return 0, false }
