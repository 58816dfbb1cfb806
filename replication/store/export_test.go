package store

// Comparer is what orders the keys of a database.
var Comparer = comparer
