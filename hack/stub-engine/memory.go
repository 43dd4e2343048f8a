package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
)

// holdCommand makes this program the child: it holds memory until its parent is gone.
const holdCommand = "hold-memory"

const page = 4096

var (
	held     [][]byte
	heldLock sync.Mutex
)

// take fills memory here or in a child. Where there is too little, the kernel kills whoever takes it.
func (e *engine) take(size int64, where string) {
	if where == "child" {
		e.takeInChild(size)
		return
	}
	fmt.Printf("allocating %d bytes in process %d\n", size, os.Getpid())
	hold(size)
	fmt.Printf("holding %d bytes in process %d\n", size, os.Getpid())
}

// hold takes memory and touches each page of it: what is not touched is not used.
func hold(size int64) {
	memory := make([]byte, size)
	for at := int64(0); at < size; at += page {
		memory[at] = 1
	}
	heldLock.Lock()
	defer heldLock.Unlock()
	held = append(held, memory)
}

// takeInChild runs this program again, as engines run workers, and outlives it.
func (e *engine) takeInChild(size int64) {
	program, err := os.Executable()
	if err != nil {
		fmt.Fprintf(os.Stderr, "stub-engine: error: %v\n", err)
		return
	}
	child := exec.Command(program, holdCommand, strconv.FormatInt(size, 10))
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	if _, err = child.StdinPipe(); err == nil {
		err = child.Run()
	}
	fmt.Printf("child ended: %v\n", err)
	if e.childExit == "exit" {
		os.Exit(0)
	}
}

// holdUntilOrphaned is the child: the pipe it reads ends with its parent.
func holdUntilOrphaned(given string) {
	size, err := strconv.ParseInt(given, 10, 64)
	if err != nil {
		fail("%v", err)
	}
	fmt.Printf("allocating %d bytes in child %d\n", size, os.Getpid())
	go func() {
		hold(size)
		fmt.Printf("holding %d bytes in child %d\n", size, os.Getpid())
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
}
