// alertcheck reads a configuration of Alertmanager as Alertmanager does: unknown fields, receivers and matchers are refused.
//
//	alertcheck alertmanager.yml
package main

import (
	"fmt"
	"os"

	"github.com/prometheus/alertmanager/config"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: alertcheck FILE")
		os.Exit(2)
	}
	if _, err := config.LoadFile(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
