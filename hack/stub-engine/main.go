// A stand-in for an inference engine: it speaks the OpenAI API, and it fails on demand.
//
// Flags are strict, as an engine's argument parser is: an unknown one ends it with exit code 2. Each flag can be given as an environment variable
// too: --start-delay is STUB_START_DELAY.
package main

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

type engine struct {
	options
	started time.Time
	host    string
	asked   atomic.Int64
	running atomic.Int64
	done    atomic.Int64
	tokensN atomic.Int64
	faults  faults
}

func (e *engine) healthy() bool { return time.Since(e.started) >= e.startDelay }

// guarded demands the key as vLLM does: on /v1 only.
func (e *engine) guarded(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		sent := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if e.apiKey != "" && subtle.ConstantTimeCompare([]byte(sent), []byte(e.apiKey)) != 1 {
			writeJSON(w, http.StatusUnauthorized, map[string]any{"error": "Unauthorized"})
			return
		}
		if !e.healthy() {
			writeJSON(w, http.StatusServiceUnavailable, map[string]any{"error": map[string]any{"message": "Loading model"}})
			return
		}
		next(w, r)
	}
}

func (e *engine) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		if !e.healthy() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	if e.metricsFlavour != "none" {
		mux.HandleFunc("GET /metrics", e.metrics)
	}
	mux.HandleFunc("GET /v1/models", e.guarded(e.models))
	mux.HandleFunc("POST /v1/chat/completions", e.guarded(e.chat))
	mux.HandleFunc("POST /v1/completions", e.guarded(e.complete))
	if e.control {
		e.controls(mux)
	}
	return e.hanging(mux)
}

func (e *engine) printLog() {
	text := e.logText
	if e.logFile != "" {
		read, err := os.ReadFile(e.logFile)
		if err != nil {
			fail("%v", err)
		}
		text += string(read)
	}
	if text != "" {
		fmt.Println(text)
	}
}

// listen opens the port; with --wrong-port another.
func (e *engine) listen() net.Listener {
	port := e.port
	if e.wrongPort {
		port = 0
	}
	listener, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		fmt.Fprintf(os.Stderr, "stub-engine: error: %v\n", err)
		os.Exit(1)
	}
	fmt.Printf("serving %s on port %d\n", e.model, listener.Addr().(*net.TCPAddr).Port)
	return listener
}

// stopOnSignal lets requests in flight end, and closes the channel when they have.
func (e *engine) stopOnSignal(server *http.Server, stopped chan struct{}) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	for <-signals == syscall.SIGTERM && e.ignoreSigterm {
		fmt.Println("ignoring SIGTERM")
	}
	fmt.Println("draining")
	ctx, cancel := context.WithTimeout(context.Background(), e.drain)
	defer cancel()
	_ = server.Shutdown(ctx)
	close(stopped)
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == holdCommand {
		holdUntilOrphaned(os.Args[2])
		return
	}
	e := &engine{options: parse(), started: time.Now()}
	e.host, _ = os.Hostname()
	e.printLog()
	e.arm()
	server := &http.Server{Handler: e.handler(), ReadHeaderTimeout: 10 * time.Second, ConnState: e.exitWhenAnswered}
	stopped := make(chan struct{})
	go e.stopOnSignal(server, stopped)
	if err := server.Serve(e.listen()); !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintf(os.Stderr, "stub-engine: error: %v\n", err)
		os.Exit(1)
	}
	<-stopped
}
