// composecheck reads a compose file as `docker compose` does, with the profiles that are named, and says what it found.
//
//	composecheck docker-compose.yml [profile…]
//
// It prints the project in full: anchors, defaults, profiles and variables resolved.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) == 0 {
		return fmt.Errorf("usage: composecheck FILE [PROFILE…]")
	}
	options, err := cli.NewProjectOptions(arguments[:1], cli.WithOsEnv, cli.WithDotEnv, cli.WithProfiles(arguments[1:]))
	if err != nil {
		return err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return err
	}
	printed, err := project.MarshalJSON()
	if err != nil {
		return err
	}
	fmt.Println(string(printed))
	return nil
}
