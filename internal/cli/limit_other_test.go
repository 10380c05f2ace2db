//go:build !unix

package cli

import "errors"

func limitFileSize(uint64) error { return errors.New("this system has no RLIMIT_FSIZE") }
