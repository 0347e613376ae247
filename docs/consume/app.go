// Takes domain events, and says which orders are paid. Run: go run docs/consume/app.go
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"sync"
)

type subject struct{ Kind, Scope, ID string }

type event struct {
	Type   string `json:"detail-type"`
	Detail struct {
		ID        string
		Subject   subject
		Reference string
		Version   uint64
		Paid      *struct{ Amount, Currency string } // The total. Absent while webhooks contradict each other.
	}
}

var (
	lock     sync.Mutex
	handled  = map[string]bool{} // In production this is a table, written in the transaction that changes the order.
	versions = map[subject]uint64{}
)

func apply(e event) {
	lock.Lock()
	defer lock.Unlock()
	if e.Type != "invoice.paid" && e.Type != "payment.succeeded" {
		return // Not about an order.
	}
	if handled[e.Detail.ID] {
		return // A duplicate.
	}
	if e.Detail.Version < versions[e.Detail.Subject] {
		return // Older than what is known.
	}
	amount := "look at Xendit"
	if paid := e.Detail.Paid; paid != nil {
		amount = paid.Currency + " " + paid.Amount
	}
	fmt.Printf("%s is paid: %s\n", e.Detail.Reference, amount)
	versions[e.Detail.Subject] = e.Detail.Version
	handled[e.Detail.ID] = true
}

func take(w http.ResponseWriter, r *http.Request) {
	var e event
	if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError) // The event is sent again.
		return
	}
	apply(e)
	w.WriteHeader(http.StatusNoContent)
}

func main() {
	port := os.Getenv("PORT")
	if port == "" {
		port = "3000"
	}
	http.HandleFunc("/events", take)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+port, nil))
}
