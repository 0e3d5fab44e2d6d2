// A sidecar like any other, for a mesh that has several replicas of each app on one machine.
//
// It finds them as a sidecar in Kubernetes does: one name, several addresses, of which daprd takes any for each call and
// which it remembers for 20 seconds. There the names are DNS's; here each app has a file with one address per line.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/dapr/components-contrib/nameresolution"
	"github.com/dapr/dapr/cmd/daprd/app"
	components "github.com/dapr/dapr/pkg/components/nameresolution"
	"github.com/dapr/kit/config"
	"github.com/dapr/kit/logger"
)

type files struct{ folder string }

func (f *files) Init(_ context.Context, metadata nameresolution.Metadata) error {
	known, err := config.Normalize(metadata.Configuration)
	if err != nil {
		return err
	}
	if settings, ok := known.(map[string]any); ok {
		f.folder, _ = settings["folder"].(string)
	}
	if f.folder == "" {
		return errors.New("the configuration of the resolver names no folder")
	}
	return nil
}

func (f *files) ResolveIDMulti(_ context.Context, request nameresolution.ResolveRequest) (nameresolution.AddressList, error) {
	text, err := os.ReadFile(filepath.Join(f.folder, filepath.Base(request.ID)))
	if err != nil {
		return nil, err
	}
	addresses := strings.Fields(string(text))
	if len(addresses) == 0 {
		return nil, fmt.Errorf("no replica of %s is ready", request.ID)
	}
	return addresses, nil
}

func (f *files) ResolveID(ctx context.Context, request nameresolution.ResolveRequest) (string, error) {
	addresses, err := f.ResolveIDMulti(ctx, request)
	return addresses.Pick(), err
}

func (f *files) Close() error { return nil }

func main() {
	components.DefaultRegistry.RegisterComponent(func(logger.Logger) nameresolution.Resolver { return &files{} }, "files")
	app.Run()
}
