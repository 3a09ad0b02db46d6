"""Local pages: a server, the gate in front of it, screening of clips and rating of videos."""
