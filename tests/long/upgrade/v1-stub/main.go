// Command v1-stub stands in for the programs of akv2k8s 1.8 in a release that is upgraded: it is healthy, and marks
// pods that are created.
package main

import (
	"encoding/json"
	"flag"
	"io"
	"log"
	"net/http"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
)

// marks is the patch of every pod.
const marks = `[{"op":"add","path":"/metadata/labels","value":{"v1":"marked"}}]`

func main() {
	plain := flag.String("http", ":8080", "where health is told")
	secure := flag.String("tls", "", "where the API server asks; empty means nowhere")
	folder := flag.String("certificate", "/certs", "folder of tls.crt and tls.key")
	flag.Parse()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	mux.HandleFunc("POST /pods", review)
	if *secure != "" {
		go func() {
			server := &http.Server{Addr: *secure, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
			log.Fatal(server.ListenAndServeTLS(*folder+"/tls.crt", *folder+"/tls.key"))
		}()
	}
	log.Fatal((&http.Server{Addr: *plain, Handler: mux, ReadHeaderTimeout: 5 * time.Second}).ListenAndServe())
}

func review(w http.ResponseWriter, r *http.Request) {
	var review admissionv1.AdmissionReview
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&review); err != nil ||
		review.Request == nil {
		http.Error(w, "no AdmissionReview", http.StatusBadRequest)
		return
	}
	kind := admissionv1.PatchTypeJSONPatch
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true, Patch: []byte(marks),
		PatchType: &kind}
	_ = json.NewEncoder(w).Encode(review)
}
