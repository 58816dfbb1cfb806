// Package broadcast tells other systems what happened, and listens to them: to what clients ask for, and to a stream of
// events. It is the only room that knows NATS, and runs a server in the node.
//
// The servers of nodes know nothing of each other: each node tells its own clients what it applied, and answers them. What
// it tells may be lost, and nothing relies on it: correctness is the log's. The clients of each grant have an account of
// their own, into which the feeds come, and out of which only requests go, and to a node's own stream events; and within
// it what their grant names.
//
// Queues. What is told to other systems goes to a queue of 65,536 events with one goroutine; when it is full an event is
// dropped and counted. Subscribers of the feed see a gap by the sequence, and ask a node for what they
// missed. Of the requests of clients 256 are done at once; what is above is told to come again. Of the
// events of a stream 64 are; the others wait in the stream.
//
// Promises:
//
//	P9  Clients do what their grant names while they have it, and nothing else.
//	    TestClientsStayOutside, TestClientsAreCutOffWithTheirGrant
//	P13 A request is done in the name of the grant that its client was let in with. No client can
//	    make it another's, hear another's answer, or have its own go to another, whatever subject it names
//	    for that: not to the feeds, an inbox, or a stream.
//	    TestRequestsAreAnswered, TestNobodyAsksInTheNameOfAnother, TestAnswersGoToNobodyElse, TestAnswersAreNoEvents
//	P14 An event of a stream is acknowledged after it was done, and not before; until then it comes
//	    again, with the same name.
//	    TestEventsAreTaken, TestNotAcknowledgedBeforeItIsDone, TestLostBeforeItIsAcknowledged,
//	    TestLaterComesAgain, TestConsumerThatWouldLoseEvents
//	P15 An event that is refused is put aside, with the reason, before it is acknowledged.
//	    TestDeadLetters, TestDeadLetterIsKeptFirst, TestDeadLettersOfAStreamMadeAnew
//	P19 Whatever happens to the server, the consumer or the stream, reading goes on by itself, and the log and Stats say
//	    whether it does. What a publisher writes stops nobody else's events.
//	    TestReadingGoesOnWhenTheServerIsBack, TestReadingGoesOnWhenSomebodyDeletes,
//	    TestMessagesThatLookLikeTheServers, TestConsumerThatAllowsLittle
//	P17 What a client chose, such as its name or a subject, is in no log.
//	    TestWhatClientsSayIsNotLogged
//	P18 Whoever tells, or publishes to the stream, waits for nothing that is full.
//	    TestFullFeedDrops, TestStreamsGetAnotherRoom, TestStreamWaitsForRoom
//	P16 In the node's own stream a client publishes in its own name only, and hears of no event.
//	    TestPublishersStayApart, TestAnswersAreNoEvents
package broadcast
