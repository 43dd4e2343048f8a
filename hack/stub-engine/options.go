package main

import (
	"flag"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
)

type options struct {
	port            int
	wrongPort       bool
	model           string
	startDelay      time.Duration
	tokensPerSecond float64
	tokens          int
	apiKey          string
	metricsFlavour  string
	logText         string
	logFile         string
	exitCode        int
	exitAfter       time.Duration
	exitAfterN      int64
	control         bool
	drain           time.Duration
	ignoreSigterm   bool
	hang            string
	hangAfterN      int64
	mute            bool
	muteAfterTokens int64
	allocate        int64
	allocateIn      string
	allocateAfter   time.Duration
	childExit       string
}

var (
	hangChoices     = []string{"health", "requests", "all"}
	allocateChoices = []string{"parent", "child"}
	flavourChoices  = []string{"vllm", "sglang", "llamacpp", "none"}
)

func parse() options {
	o := options{allocateIn: "parent", childExit: "keep", metricsFlavour: "vllm"}
	o.servingFlags()
	o.failingFlags()
	flag.VisitAll(fromEnvironment)
	flag.Parse()
	if flag.NArg() > 0 {
		fail("unrecognized arguments: %s", strings.Join(flag.Args(), " "))
	}
	for _, name := range []string{"VLLM_API_KEY", "DEDICATED_ENGINE_KEY"} {
		if o.apiKey == "" {
			o.apiKey = os.Getenv(name)
		}
	}
	return o
}

func (o *options) servingFlags() {
	flag.IntVar(&o.port, "port", 8000, "port to listen on")
	flag.StringVar(&o.model, "served-model-name", "stub", "model name on the API")
	flag.DurationVar(&o.startDelay, "start-delay", 0, "until /health answers 200")
	flag.Float64Var(&o.tokensPerSecond, "tokens-per-second", 50, "rate of a stream")
	flag.IntVar(&o.tokens, "tokens", 16, "tokens of an answer, unless max_tokens asks for fewer")
	flag.StringVar(&o.apiKey, "api-key", "", "key that callers must send; also read from VLLM_API_KEY and DEDICATED_ENGINE_KEY")
	flag.Func("metrics-flavour", "whose metric names: vllm (default), sglang, llamacpp, none", oneOf(&o.metricsFlavour, flavourChoices))
	flag.StringVar(&o.logText, "log-text", "", "text to print at the start")
	flag.StringVar(&o.logFile, "log-file", "", "file to print at the start")
	flag.BoolVar(&o.control, "control", false, "serve POST /control/exit?code=N, hang?what=W, mute?after-tokens=N, allocate?size=S&in=parent|child")
	flag.DurationVar(&o.drain, "drain", time.Minute, "how long streams in flight may last after SIGTERM")
}

func (o *options) failingFlags() {
	flag.IntVar(&o.exitCode, "exit-code", 1, "exit code for --exit-after and --exit-after-requests")
	flag.DurationVar(&o.exitAfter, "exit-after", 0, "end by itself this long after the start; 0 never")
	flag.Int64Var(&o.exitAfterN, "exit-after-requests", 0, "end by itself once that many completions were answered; 0 never")
	flag.BoolVar(&o.wrongPort, "wrong-port", false, "listen on any free port but --port")
	flag.BoolVar(&o.ignoreSigterm, "ignore-sigterm", false, "go on after SIGTERM")
	flag.Func("hang", "accept and never answer: health, requests (/v1), all", oneOf(&o.hang, hangChoices))
	flag.Int64Var(&o.hangAfterN, "hang-after-requests", 0, "hang only once that many completions were answered")
	flag.BoolVar(&o.mute, "mute", false, "answer completions with headers and no byte more")
	flag.Int64Var(&o.muteAfterTokens, "mute-after-tokens", 0, "send that many tokens of a stream before falling mute; 0 never falls mute")
	flag.Func("allocate", "memory to take and touch, such as 512Mi", sizeInto(&o.allocate))
	flag.Func("allocate-in", "which process takes it: parent (default), child", oneOf(&o.allocateIn, allocateChoices))
	flag.DurationVar(&o.allocateAfter, "allocate-after", 0, "take the memory this long after the start")
	flag.Func("child-exit", "what happens once the child is gone: keep (default) serving, or exit with 0", oneOf(&o.childExit, []string{"keep", "exit"}))
}

func fromEnvironment(f *flag.Flag) {
	name := "STUB_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
	if value, set := os.LookupEnv(name); set {
		if err := f.Value.Set(value); err != nil {
			fail("%s: %v", name, err)
		}
	}
}

// fail ends the process as an engine's argument parser does.
func fail(format string, values ...any) {
	fmt.Fprintf(os.Stderr, "stub-engine: error: "+format+"\n", values...)
	os.Exit(2)
}

func oneOf(into *string, choices []string) func(string) error {
	return func(given string) error {
		for _, choice := range choices {
			if given == choice {
				*into = given
				return nil
			}
		}
		return fmt.Errorf("%q is none of %s", given, strings.Join(choices, ", "))
	}
}

func sizeInto(into *int64) func(string) error {
	return func(given string) (err error) {
		*into, err = parseSize(given)
		return err
	}
}

// parseSize reads bytes as Kubernetes writes them: 1024, 512Mi, 1Gi.
func parseSize(given string) (int64, error) {
	digits := strings.TrimRight(given, "KMGi")
	factor, known := map[string]int64{"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}[given[len(digits):]]
	count, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || !known || count < 1 || count > math.MaxInt64/factor {
		return 0, fmt.Errorf("%q is no size; write bytes, or Ki, Mi, Gi", given)
	}
	return count * factor, nil
}
