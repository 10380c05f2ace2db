//go:build !gorgonia

package driver

const backend = "purego"

func newAPI(path string) (api, error) {
	p, err := openPure(path)
	if err != nil {
		return nil, err
	}
	return p, nil
}
