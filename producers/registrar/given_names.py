"""Frequent given names that are written with an accent: what a name that has lost letters may have been."""

from __future__ import annotations

ACCENTED = frozenset(
    """
    Adèle Adélaïde Agnès Aimé Aliénor Amélie Anaë Anaël Anaïs André Angèle Angélique Aurélie
    Aurélien Azélie Aïcha Aïssa Benoît Béatrice Bénédicte Bérangère Bérénice Chloé Cloé Cléa Clélia
    Clémence Clément Clémentine Cécile Céleste Célestin Célia Célie Céline Côme Daphné Désiré
    Désirée Florèle François Françoise Frédéric Frédérique Félicie Félicité Félix Gaël Gaëlle Gaëtan
    Geneviève Grégoire Grégory Gérald Géraldine Gérard Hervé Honoré Hédi Héloïse Hélène Inès Irène
    Isaïe Josée Joséphine Joël Joëlle Jérémie Jérémy Jérôme Kévin Laëtitia Loïc Loïs Léa Léana
    Léandre Léna Léo Léon Léonard Léonie Léonore Lévi Marlène Mathéo Mathéïs Maël Maëlie Maëlle
    Maëlys Maëva Michaël Michèle Mickaël Moïse Mylène Mélanie Mélina Mélissa Mélodie Nathanaël Naël
    Naïm Naïma Noé Noélie Noémie Noël Océane Ophélie Pénélope Raphaël Raphaëlle René Renée Roméo
    Régine Régis Rémi Rémy Salomé Solène Stéphane Stéphanie Sylvère Sébastien Ségolène Séverine Théa
    Théo Théodore Théophile Thérèse Timothée Timéo Valère Valérie Véronique Yaël Yoël Zaïd Zoé Zélie
    Ève Élea Élias Élie Éline Élisa Élisabeth Élise Élodie Élouan Éloïse Éléa Éléna Éléonore Émeline
    Émile Émilie Émilien Énora Éric Étienne Évelyne
    """.split()  # noqa: SIM905 -- a list of words
)
