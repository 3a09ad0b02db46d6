"""Local pages: server, access checks, screening of clips, rating of videos."""
