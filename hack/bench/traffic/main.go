// Traffic for hack/bench/gateway.py: a plain reverse proxy to compare with, and a caller that counts.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	switch os.Args[1] {
	case "proxy":
		proxy(os.Args[2], os.Args[3])
	case "load":
		load(os.Args[2:])
	}
}

// proxy is what a careful Go programmer writes in ten lines.
func proxy(listen, to string) {
	target, err := url.Parse(to)
	if err != nil {
		panic(err)
	}
	reverse := httputil.NewSingleHostReverseProxy(target)
	reverse.FlushInterval = -1
	reverse.Transport = &http.Transport{MaxIdleConnsPerHost: 2000, DisableCompression: true}
	panic(http.ListenAndServe(listen, reverse))
}

type caller struct {
	url, key  string
	body      []byte
	client    *http.Client
	chunks    atomic.Int64
	errors    atomic.Int64
	lock      sync.Mutex
	latencies []time.Duration
}

func load(args []string) {
	flags := flag.NewFlagSet("load", flag.ExitOnError)
	address := flags.String("url", "", "what to call")
	key := flags.String("key", "", "API key")
	body := flags.String("body", "", "body of each call")
	count := flags.Int("n", 1000, "calls")
	parallel := flags.Int("c", 50, "calls at once")
	rate := flags.Float64("rate", 0, "calls a second, whatever is answered; 0: as fast as they are answered")
	_ = flags.Parse(args)
	transport := &http.Transport{MaxIdleConnsPerHost: *parallel, MaxConnsPerHost: 0, DisableCompression: true}
	c := &caller{url: *address, key: *key, body: []byte(*body), client: &http.Client{Transport: transport}}
	began := time.Now()
	if *rate > 0 {
		c.open(*count, *rate)
	} else {
		c.closed(*count, *parallel)
	}
	c.report(time.Since(began))
}

func (c *caller) closed(count, parallel int) {
	var next atomic.Int64
	var group sync.WaitGroup
	for range parallel {
		group.Add(1)
		go func() {
			defer group.Done()
			for next.Add(1) <= int64(count) {
				c.call(time.Now())
			}
		}()
	}
	group.Wait()
}

// open begins each call at its time: a slow answer delays no other call, and its own delay counts from when it should have begun.
func (c *caller) open(count int, rate float64) {
	var group sync.WaitGroup
	began := time.Now()
	for n := range count {
		due := began.Add(time.Duration(float64(n) / rate * float64(time.Second)))
		time.Sleep(time.Until(due))
		group.Add(1)
		go func() {
			defer group.Done()
			c.call(due)
		}()
	}
	group.Wait()
}

func (c *caller) call(began time.Time) {
	request, _ := http.NewRequest(http.MethodPost, c.url, bytes.NewReader(c.body))
	request.Header.Set("Content-Type", "application/json")
	if c.key != "" {
		request.Header.Set("Authorization", "Bearer "+c.key)
	}
	answer, err := c.client.Do(request)
	if err != nil {
		c.errors.Add(1)
		return
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		c.errors.Add(1)
		_, _ = io.Copy(io.Discard, answer.Body)
		return
	}
	c.read(answer.Body)
	c.lock.Lock()
	c.latencies = append(c.latencies, time.Since(began))
	c.lock.Unlock()
}

func (c *caller) read(body io.Reader) {
	lines := bufio.NewReader(body)
	for {
		line, err := lines.ReadSlice('\n')
		if bytes.HasPrefix(line, []byte("data: ")) {
			c.chunks.Add(1)
		}
		if err != nil {
			return
		}
	}
}

func (c *caller) report(lasted time.Duration) {
	slices.Sort(c.latencies)
	at := func(share float64) float64 {
		if len(c.latencies) == 0 {
			return 0
		}
		return c.latencies[int(share*float64(len(c.latencies)-1))].Seconds() * 1000
	}
	_ = json.NewEncoder(os.Stdout).Encode(map[string]any{
		"calls": len(c.latencies), "errors": c.errors.Load(), "chunks": c.chunks.Load(), "seconds": lasted.Seconds(), "p50_ms": at(0.5), "p99_ms": at(0.99),
	})
	if c.errors.Load() > 0 {
		fmt.Fprintln(os.Stderr, "calls failed:", c.errors.Load())
	}
}
