package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	pluginapi "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// fakeKubelet takes registrations on its socket.
type fakeKubelet struct {
	pluginapi.UnimplementedRegistrationServer
	asked  chan *pluginapi.RegisterRequest
	server *grpc.Server
}

func (k *fakeKubelet) Register(_ context.Context, asked *pluginapi.RegisterRequest) (*pluginapi.Empty, error) {
	k.asked <- asked
	return &pluginapi.Empty{}, nil
}

// startKubelet begins as the real one does: by removing every socket of the folder.
func startKubelet(t *testing.T, folder string) *fakeKubelet {
	t.Helper()
	old, _ := filepath.Glob(filepath.Join(folder, "*.sock"))
	for _, path := range old {
		_ = os.Remove(path)
	}
	listener, err := net.Listen("unix", filepath.Join(folder, "kubelet.sock"))
	if err != nil {
		t.Fatal(err)
	}
	found := &fakeKubelet{asked: make(chan *pluginapi.RegisterRequest, 8), server: grpc.NewServer()}
	pluginapi.RegisterRegistrationServer(found.server, found)
	go func() { _ = found.server.Serve(listener) }()
	t.Cleanup(found.server.Stop)
	return found
}

func (k *fakeKubelet) registration(t *testing.T) *pluginapi.RegisterRequest {
	t.Helper()
	select {
	case asked := <-k.asked:
		return asked
	case <-time.After(10 * time.Second):
		t.Fatal("nobody registered")
		return nil
	}
}

func running(t *testing.T, count int) (*devices, string) {
	t.Helper()
	folder, err := os.MkdirTemp("", "plugin") // t.TempDir() is too long a name for a socket
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	gpus, ended := newDevices(count), make(chan struct{})
	go func() { serve(ctx, gpus, folder); close(ended) }()
	t.Cleanup(func() { stop(); <-ended; _ = os.RemoveAll(folder) })
	return gpus, folder
}

func client(t *testing.T, folder string) pluginapi.DevicePluginClient {
	t.Helper()
	connection, err := grpc.NewClient("unix://"+filepath.Join(folder, socket), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	return pluginapi.NewDevicePluginClient(connection)
}

func TestItRegistersAndAgainWhenTheKubeletStartsAnew(t *testing.T) {
	_, folder := running(t, 2)
	for life := range 3 {
		kubelet := startKubelet(t, folder)
		asked := kubelet.registration(t)
		if asked.ResourceName != "nvidia.com/gpu" || asked.Version != "v1beta1" || asked.Endpoint != socket {
			t.Fatalf("life %d: %v", life, asked)
		}
		if _, err := client(t, folder).GetDevicePluginOptions(t.Context(), &pluginapi.Empty{}); err != nil {
			t.Fatalf("life %d: %v", life, err)
		}
		kubelet.server.Stop()
	}
}

func TestTheKubeletIsToldOfEveryChange(t *testing.T) {
	gpus, folder := running(t, 2)
	startKubelet(t, folder).registration(t)
	stream, err := client(t, folder).ListAndWatch(t.Context(), &pluginapi.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		change func()
		want   []string
	}{
		{func() {}, []string{"Healthy", "Healthy"}},
		{func() { gpus.toggle() }, []string{"Unhealthy", "Healthy"}},
		{func() { gpus.resize(3) }, []string{"Unhealthy", "Healthy", "Healthy"}},
		{func() { gpus.toggle() }, []string{"Healthy", "Healthy", "Healthy"}},
		{func() { gpus.resize(0) }, nil},
	}
	for number, step := range steps {
		step.change()
		told, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if len(told.Devices) != len(step.want) {
			t.Fatalf("step %d: %v", number, told.Devices)
		}
		for i, device := range told.Devices {
			if device.Health != step.want[i] {
				t.Fatalf("step %d: %v", number, told.Devices)
			}
		}
	}
}

func TestAContainerIsToldItsDevices(t *testing.T) {
	asked := &pluginapi.AllocateRequest{ContainerRequests: []*pluginapi.ContainerAllocateRequest{
		{DevicesIds: []string{"fake-gpu-1"}}, {DevicesIds: []string{"fake-gpu-0", "fake-gpu-2"}},
	}}
	answer, err := (&plugin{gpus: newDevices(3)}).Allocate(context.Background(), asked)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"fake-gpu-1", "fake-gpu-0,fake-gpu-2"} {
		env := answer.ContainerResponses[i].Envs
		if env["NVIDIA_VISIBLE_DEVICES"] != want || env["DEDICATED_FAKE_GPUS"] != want {
			t.Fatalf("container %d: %v", i, env)
		}
	}
}

func TestTheCountFollowsAFileAndKeepsTheLastNumber(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gpus")
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	gpus := newDevices(2)
	go follow(ctx, gpus, file)
	for _, step := range []struct {
		text string
		want int
	}{{"8\n", 8}, {"", 8}, {"-1", 8}, {"0", 0}} {
		if err := os.WriteFile(file, []byte(step.text), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * every)
		if found, _ := gpus.list(); len(found) != step.want {
			t.Fatalf("after %q there are %d", step.text, len(found))
		}
	}
}
