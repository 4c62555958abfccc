// Package local is a real single-node Kubernetes on this machine, without docker: etcd, the API server and its
// controllers, containerd, kubelet, kube-proxy and CoreDNS, in namespaces of their own.
//
// Names of Azure services lead to the Service azure-emulator in the namespace azure-emulator, and the node has Azure's
// metadata address and an azure.json, so that the unmodified product believes that it runs on AKS.
package local
