package main

import (
	"context"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	pluginapi "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const (
	resource = "nvidia.com/gpu"
	socket   = "dedicated-fake-gpu.sock"
	patience = 5 * time.Second
)

// serve registers with the kubelet, and again when the kubelet has started anew: it then removes all sockets and makes its own again.
func serve(ctx context.Context, gpus *devices, folder string) {
	said := ""
	for ctx.Err() == nil {
		if err := session(ctx, gpus, folder); err != nil && err.Error() != said {
			said = err.Error()
			log.Printf("not registered yet: %s", said)
		}
		wait(ctx)
	}
}

// session serves one life of the kubelet.
func session(ctx context.Context, gpus *devices, folder string) error {
	kubelet, own := filepath.Join(folder, "kubelet.sock"), filepath.Join(folder, socket)
	born, err := os.Stat(kubelet)
	if err != nil {
		return err
	}
	_ = os.Remove(own)
	listener, err := net.Listen("unix", own)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	pluginapi.RegisterDevicePluginServer(server, &plugin{gpus: gpus})
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()
	if err := register(ctx, kubelet); err != nil {
		return err
	}
	log.Printf("registered %s", resource)
	for ctx.Err() == nil && same(kubelet, born) && exists(own) {
		wait(ctx)
	}
	return nil
}

func register(ctx context.Context, kubelet string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	connection, err := grpc.NewClient("unix://"+kubelet, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }()
	_, err = pluginapi.NewRegistrationClient(connection).Register(ctx, &pluginapi.RegisterRequest{
		Version: pluginapi.Version, Endpoint: socket, ResourceName: resource, Options: &pluginapi.DevicePluginOptions{},
	})
	return err
}

// same says whether the socket is still the one that was seen; an inode number may come back, a time does not.
func same(path string, seen os.FileInfo) bool {
	now, err := os.Stat(path)
	return err == nil && os.SameFile(now, seen) && now.ModTime().Equal(seen.ModTime())
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func wait(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(every):
	}
}

type plugin struct {
	pluginapi.UnimplementedDevicePluginServer
	gpus *devices
}

func (p *plugin) GetDevicePluginOptions(context.Context, *pluginapi.Empty) (*pluginapi.DevicePluginOptions, error) {
	return &pluginapi.DevicePluginOptions{}, nil
}

// ListAndWatch tells the devices now and whenever they change, until the kubelet goes.
func (p *plugin) ListAndWatch(_ *pluginapi.Empty, stream grpc.ServerStreamingServer[pluginapi.ListAndWatchResponse]) error {
	for {
		found, changed := p.gpus.list()
		if err := stream.Send(&pluginapi.ListAndWatchResponse{Devices: found}); err != nil {
			return err
		}
		select {
		case <-stream.Context().Done():
			return nil
		case <-changed:
		}
	}
}

// Allocate names to each container the devices that the kubelet chose for it.
func (p *plugin) Allocate(_ context.Context, asked *pluginapi.AllocateRequest) (*pluginapi.AllocateResponse, error) {
	answer := &pluginapi.AllocateResponse{}
	for _, container := range asked.ContainerRequests {
		ids := strings.Join(container.DevicesIds, ",")
		env := map[string]string{"NVIDIA_VISIBLE_DEVICES": ids, "DEDICATED_FAKE_GPUS": ids}
		answer.ContainerResponses = append(answer.ContainerResponses, &pluginapi.ContainerAllocateResponse{Envs: env})
	}
	return answer, nil
}
