package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	pluginapi "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const every = 200 * time.Millisecond

// devices are the GPUs of this node; `changed` is closed, and another made, when they change.
type devices struct {
	mutex   sync.Mutex
	count   int
	broken  bool
	changed chan struct{}
}

func newDevices(count int) *devices {
	return &devices{count: count, changed: make(chan struct{})}
}

// list is what the kubelet is told, and a channel that is closed when that is no longer true.
func (d *devices) list() ([]*pluginapi.Device, <-chan struct{}) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	found := make([]*pluginapi.Device, d.count)
	for i := range found {
		found[i] = &pluginapi.Device{ID: fmt.Sprintf("fake-gpu-%d", i), Health: pluginapi.Healthy}
	}
	if d.broken && d.count > 0 {
		found[0].Health = pluginapi.Unhealthy
	}
	return found, d.changed
}

// toggle breaks or mends device 0 and says which.
func (d *devices) toggle() string {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.broken = !d.broken
	d.tell()
	if d.broken {
		return pluginapi.Unhealthy
	}
	return pluginapi.Healthy
}

// resize changes how many there are.
func (d *devices) resize(count int) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if count == d.count {
		return
	}
	log.Printf("there are %d devices", count)
	d.count = count
	d.tell()
}

func (d *devices) tell() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// follow keeps the count as a file says, while it says a number.
func follow(ctx context.Context, gpus *devices, file string) {
	for ctx.Err() == nil {
		text, err := os.ReadFile(file)
		if count, wrong := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && wrong == nil && count >= 0 {
			gpus.resize(count)
		}
		time.Sleep(every)
	}
}
