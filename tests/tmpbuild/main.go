package main

import (
	"context"
	"fmt"
	"os"

	"github.com/akv2k8s/akv2k8s/tests/cluster/build"
)

func main() {
	f, err := build.Builder{Root: "/work/main", Cache: "/root/.cache/akv2k8s", Progress: os.Stderr}.OldKubelet(context.Background())
	fmt.Println(f, err)
}
