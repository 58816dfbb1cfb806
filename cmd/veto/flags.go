package main

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// fromOne reads a flag that, if it is not given, is 0: which is nothing to be asked for.
func fromOne[N int | ~uint32](into *N, most N) func(text string) error {
	return func(text string) error {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil || n == 0 || n > uint64(most) {
			return fmt.Errorf("give a whole number from 1 to %d, or leave it out", most)
		}
		*into = N(n)
		return nil
	}
}

// span is a flag of how long something is or lives. 0 is none: it would be taken for what holds without the flag.
type span time.Duration

// Set reads what was given.
func (s *span) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return errors.New("give a duration above 0, such as 90s or 24h, or leave it out")
	}
	*s = span(d)
	return nil
}

// String is the default in the help, where 0 says nothing.
func (s *span) String() string {
	if *s == 0 {
		return ""
	}
	return time.Duration(*s).String()
}

// Type is what the help calls it.
func (s *span) Type() string { return "duration" }

// saysNothing is what is wrong with the arguments, or with a flag, that are empty, as of a variable that was never set: what was
// meant to be wanted must not be taken for wanting nothing. A flag that means something by it says so in its help.
func saysNothing(c *cobra.Command, args []string) error {
	for i, arg := range args {
		if arg == "" {
			return fmt.Errorf("argument %d is empty, as of a variable that was never set", i+1)
		}
	}
	var err error
	c.Flags().Visit(func(f *pflag.Flag) {
		given := f.Value.String()
		if strings.HasPrefix(f.Value.Type(), "string") && (given == "" || given == "[]" && f.Value.Type() != "string") && !strings.Contains(f.Usage, "''") {
			err = cmp.Or(err, fmt.Errorf("--%s: is empty, as of a variable that was never set; leave it out, or give a value", f.Name))
		}
	})
	return err
}

// wrongValue says what a flag takes, where Go's readers of numbers and times say what they were doing.
func wrongValue(err error) error {
	var wrong *pflag.InvalidValueError
	if !errors.As(err, &wrong) {
		return err
	}
	f := wrong.GetFlag()
	takes := map[string]string{
		"bool": "true or false", "duration": "a duration such as 90s or 24h", "int": "a whole number", "uint": "a whole number from 0 on",
		"uint64": "a whole number from 0 on", "float64": "a number",
	}[f.Value.Type()]
	if cause := wrong.Unwrap().Error(); takes == "" || !strings.HasPrefix(cause, "strconv.") && !strings.HasPrefix(cause, "time: ") {
		return err
	}
	return fmt.Errorf("invalid argument %q for %q flag: give %s", wrong.GetValue(), "--"+f.Name, takes)
}
