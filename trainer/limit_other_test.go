//go:build !unix

package trainer

import "errors"

func limitFileSize(uint64) error { return errors.New("this system has no RLIMIT_FSIZE") }
