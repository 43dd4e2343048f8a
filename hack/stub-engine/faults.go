package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// never is what muteAfter holds while the engine is not to fall mute.
const never = -1

// faults are those that can be changed while the engine serves.
type faults struct {
	hang      atomic.Value // string: one of hangChoices, or empty
	muteAfter atomic.Int64 // tokens of an answer before it falls mute
}

// arm sets what the flags ask for.
func (e *engine) arm() {
	e.faults.hang.Store(e.hang)
	e.faults.muteAfter.Store(never)
	if e.mute || e.muteAfterTokens > 0 {
		e.faults.muteAfter.Store(e.muteAfterTokens)
	}
	if e.exitAfter > 0 {
		time.AfterFunc(e.exitAfter, func() { os.Exit(e.exitCode) })
	}
	if e.allocate > 0 {
		time.AfterFunc(e.allocateAfter, func() { e.take(e.allocate, e.allocateIn) })
	}
}

// hanging accepts requests and does not answer those that are to hang; commands are always obeyed.
func (e *engine) hanging(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if e.hangs(r.URL.Path) {
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, r)
	})
}

func (e *engine) hangs(path string) bool {
	if e.done.Load() < e.hangAfterN || strings.HasPrefix(path, "/control/") {
		return false
	}
	switch e.faults.hang.Load() {
	case "all":
		return true
	case "health":
		return path == "/health"
	case "requests":
		return strings.HasPrefix(path, "/v1/")
	}
	return false
}

// mutes is whether the answer fell mute here: its headers and this many tokens are sent, and then nothing until the caller gives up.
func (e *engine) mutes(w http.ResponseWriter, r *http.Request, sent int) bool {
	if after := e.faults.muteAfter.Load(); after == never || int64(sent) < after {
		return false
	}
	w.(http.Flusher).Flush()
	<-r.Context().Done()
	return true
}

// exitWhenAnswered ends the process once enough completions were answered, and not before the last answer is written: its connection is idle then.
func (e *engine) exitWhenAnswered(_ net.Conn, state http.ConnState) {
	over := state == http.StateIdle || state == http.StateClosed
	if e.exitAfterN > 0 && over && e.done.Load() >= e.exitAfterN {
		fmt.Fprintf(os.Stderr, "crashing after %d requests\n", e.done.Load())
		os.Exit(e.exitCode)
	}
}

// controls are the same faults, by request: POST /control/exit, hang, mute, allocate.
func (e *engine) controls(mux *http.ServeMux) {
	mux.HandleFunc("POST /control/exit", func(_ http.ResponseWriter, r *http.Request) {
		code := 1
		_, _ = fmt.Sscan(r.URL.Query().Get("code"), &code)
		fmt.Fprintf(os.Stderr, "told to exit with code %d\n", code)
		os.Exit(code)
	})
	mux.HandleFunc("POST /control/hang", e.controlHang)
	mux.HandleFunc("POST /control/mute", e.controlMute)
	mux.HandleFunc("POST /control/allocate", e.controlAllocate)
}

func (e *engine) controlHang(w http.ResponseWriter, r *http.Request) {
	what := queryOr(r, "what", "all")
	if what == "none" {
		what = ""
	} else if !slices.Contains(hangChoices, what) {
		http.Error(w, "what is none of health, requests, all, none", http.StatusBadRequest)
		return
	}
	e.faults.hang.Store(what)
}

func (e *engine) controlMute(w http.ResponseWriter, r *http.Request) {
	after := int64(0)
	if _, err := fmt.Sscan(queryOr(r, "after-tokens", "0"), &after); err != nil || after < never {
		http.Error(w, "after-tokens is a number of tokens, or -1 for never", http.StatusBadRequest)
		return
	}
	e.faults.muteAfter.Store(after)
}

func (e *engine) controlAllocate(w http.ResponseWriter, r *http.Request) {
	size, err := parseSize(queryOr(r, "size", ""))
	where := queryOr(r, "in", "parent")
	if err != nil || !slices.Contains(allocateChoices, where) {
		http.Error(w, "size is such as 512Mi; in is parent or child", http.StatusBadRequest)
		return
	}
	go e.take(size, where)
}

func queryOr(r *http.Request, name, otherwise string) string {
	if given := r.URL.Query().Get(name); given != "" {
		return given
	}
	return otherwise
}
