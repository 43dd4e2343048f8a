// device-plugin stands in for NVIDIA's: it tells the kubelet of GPUs that are not there, and names them to containers.
//
//	device-plugin --count 2 [--count-file FILE] [--folder /var/lib/kubelet/device-plugins]
//
// A number in the count file goes before --count, and is read again when it changes. SIGUSR1 makes device 0 unhealthy, and healthy again.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"

	pluginapi "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

func main() {
	count := flag.Int("count", 2, "how many GPUs there are")
	file := flag.String("count-file", "", "a file with a number that goes before --count")
	folder := flag.String("folder", pluginapi.DevicePluginPath, "where the kubelet's socket is")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	gpus := newDevices(*count)
	go toggle(ctx, gpus)
	if *file != "" {
		go follow(ctx, gpus, *file)
	}
	serve(ctx, gpus, *folder)
}

// toggle loses and finds device 0, one SIGUSR1 each.
func toggle(ctx context.Context, gpus *devices) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	for {
		select {
		case <-ctx.Done():
			return
		case <-asked:
			log.Printf("device 0 is %s", gpus.toggle())
		}
	}
}
