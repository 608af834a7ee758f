// A chat room on gorilla/websocket: `chat PORT`. It follows the chat of the library's examples: a goroutine for each
// room, one that reads and one that writes for each member. A message is prepared once for all of them.
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	maxMessage = 64 * 1024
	// Most messages that wait for one member. A member that has more is dropped.
	maxQueued = 256
)

type command struct {
	Message string `json:"message"`
}

type event struct {
	Type    string `json:"type"`
	User    string `json:"user"`
	Message string `json:"message"`
	Room    string `json:"room"`
	Ts      int64  `json:"ts"`
}

type member struct {
	socket *websocket.Conn
	queue  chan *websocket.PreparedMessage
}

// room has members that only its own goroutine touches. A room stays once it is there.
type room struct {
	enter, leave chan *member
	say          chan *websocket.PreparedMessage
}

func newRoom() *room {
	it := &room{make(chan *member), make(chan *member), make(chan *websocket.PreparedMessage, maxQueued)}
	go it.run()
	return it
}

func (it *room) run() {
	members := map[*member]bool{}
	drop := func(who *member) {
		if members[who] {
			delete(members, who)
			close(who.queue)
		}
	}
	for {
		select {
		case who := <-it.enter:
			members[who] = true
		case who := <-it.leave:
			drop(who)
		case message := <-it.say:
			for who := range members {
				select {
				case who.queue <- message:
				default:
					drop(who)
				}
			}
		}
	}
}

var (
	upgrader = websocket.Upgrader{}
	rooms    = map[string]*room{}
	lock     sync.Mutex
)

func roomNamed(name string) *room {
	lock.Lock()
	defer lock.Unlock()
	if rooms[name] == nil {
		rooms[name] = newRoom()
	}
	return rooms[name]
}

func serve(w http.ResponseWriter, r *http.Request) {
	user, name := r.URL.Path[1:], r.URL.Query().Get("room")
	socket, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // the library has answered
	}
	socket.SetReadLimit(maxMessage)
	in := roomNamed(name)
	who := &member{socket, make(chan *websocket.PreparedMessage, maxQueued)}
	in.enter <- who
	go who.write()
	defer func() { in.leave <- who }()
	for {
		var said command
		if socket.ReadJSON(&said) != nil {
			return
		}
		text, err := json.Marshal(event{"message", user, said.Message, name, time.Now().UnixMilli()})
		if err != nil {
			return
		}
		message, err := websocket.NewPreparedMessage(websocket.TextMessage, text)
		if err != nil {
			return
		}
		in.say <- message
	}
}

func (who *member) write() {
	defer who.socket.Close()
	for message := range who.queue {
		if who.socket.WritePreparedMessage(message) != nil {
			return
		}
	}
}

func main() {
	http.HandleFunc("/", serve)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
