// Package roster knows who is alive and where: membership by gossip.
//
// It is advice, no more. A member that it names may be gone, and whoever has the gossip key
// can say anything here; so nothing that matters is decided by it alone. It is the only room
// that knows memberlist, and it knows nothing of logs and records.
//
// Promises:
//
//	G1  Members that can reach each other come to know each other, and hear of changes.
//	    TestMembersMeet, TestChangeDoesNotWait, and while packets are lost and doubled TestSimulation in room
//	    test/simulation
//	G2  Who has another gossip key, or is of another cluster, is not met.
//	    TestStrangersDoNotMeet
//	G3  What a member says of itself always fits, or Change says that it does not.
//	    TestMetaFits, FuzzDecodeMeta
//	G4  The key is exchanged for another while members speak: none loses sight of the others.
//	    TestKeyIsRotated
package roster
