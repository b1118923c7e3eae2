"""One public function for each mutation: it owns permission, transition, audit row and notification."""
