"""Names of an imaginary student body: invented people, with the spellings that real ones have."""

from __future__ import annotations

from dataclasses import dataclass


def _listed(text: str) -> tuple[str, ...]:
    return tuple(" ".join(text.split()).split(", "))


_FRENCH_GIVEN = _listed("""
    Léa, Chloé, Zoé, Inès, Maëlle, Anaïs, Éloïse, Agathe, Héloïse, Noémie, Clémence, Margaux, Océane,
    Jeanne, Manon, Camille, Juliette, Louise, Apolline, Bérénice, Cécile, Célia, Solène, Lucie, Élodie,
    Mélanie, Aurélie, Françoise, Gaëlle, Ophélie, Marie-Amélie, Anne-Sophie, Marie-Ève, Lou-Anne, Rose,
    Victoire, Capucine, Marguerite, Constance, Flavie, Eugénie, Théo, Raphaël, Gaël, Noël, Joël, Maël,
    Loïc, Benoît, Jérôme, Rémi, Cédric, Frédéric, Stéphane, Grégoire, Timothée, Barnabé, Jean-Baptiste,
    Jean-Noël, Paul-Émile, Pierre-Louis, Marc-Antoine, Hugo, Louis, Jules, Gabriel, Arthur, Adrien,
    Antoine, Clément, Valentin, Quentin, Félix, Côme, Augustin, Étienne, Aurélien, Sébastien, Régis,
    Gaétan, Anatole, Célestin, Maxence, Baptiste, Corentin, Romain, Vincent, Xavier, Yves, Élie, Léon,
    Ambroise, Thaïs, Romane, Salomé, Esther, Ninon, Garance
""")

_FRENCH_FAMILY = _listed("""
    Martin, Bernard, Thomas, Petit, Robert, Richard, Durand, Dubois, Moreau, Laurent, Simon, Michel,
    Lefèvre, Leroy, Roux, Bertrand, Morel, Fournier, Girard, Bonnet, Dupont, Lambert, Fontaine,
    Rousseau, Vincent, Müller, Lefebvre, Faure, André, Mercier, Blanc, Guérin, Boyer, Garnier,
    Chevalier, François, Legrand, Gauthier, Garcia, Perrin, Robin, Clément, Morin, Nicolas, Henry,
    Roussel, Mathieu, Gautier, Masson, Marchand, Duval, Denis, Dumont, Marie, Lemaire, Noël, Meyer,
    Dufour, Meunier, Brun, Blanchard, Giraud, Joly, Rivière, Lucas, Brunet, Gaillard, Barbier, Arnaud,
    Martínez, Gérard, Roche, Renard, Schmitt, Roy, Leroux, Colin, Vidal, Caron, Picard, Roger, Fabre,
    Aubert, Lemoine, Renaud, Dumas, Lacroix, Olivier, Philippe, Bourgeois, Pierre, Benoît, Rey, Leclerc,
    Payet, Rolland, Leclercq, Guillaume, Lecomte, López, Jean, Dupuy, Guillot, Hubert, Béranger, Carré,
    Créteau, Préfontaine, Théron, Désormière, Crépin, Hébert, Lévêque, Évrard, Zœller, Lebœuf,
    Desœuvres, de La Fontaine, de Villiers, d'Estaing, d’Ormesson, du Bellay, de Saint-Exupéry, de
    l'Épine, des Essarts, Le Gall-Dubreuil, Saint-Martin, Sainte-Beuve, Le Roux, La Bruyère, L'Hermite
""")


@dataclass(frozen=True)
class Origin:
    """Names that go together. `share`: of the student body, 0 to 1."""

    share: float
    family: tuple[str, ...]
    given: tuple[str, ...]


ORIGINS = (
    Origin(0.66, _FRENCH_FAMILY, _FRENCH_GIVEN),
    Origin(  # Breton
        0.06,
        _listed(
            "Le Goff, Le Gall, Kerdoncuff, L'Hostis, Guivarc'h, Le Bihan, Kermarrec, Penn, Cloarec, Quéméner"
        ),
        _listed(
            "Maëlys, Nolwenn, Enora, Rozenn, Gwenaëlle, Yann, Erwan, Malo, Tanguy, Gwenolé, Ronan, Morgane"
        ),
    ),
    Origin(  # Basque
        0.02,
        _listed(
            "Etcheverry, Iribarne, Harispe, Goyhénèche, Ibarrola, Elissalde, Etxeberria, Duhalde, Bidegain"
        ),
        _listed("Maialen, Amaia, Xabi, Beñat, Peio, Ainhoa, Iker, Nahia, Mattin, Panpili, Eneko, Maddi"),
    ),
    Origin(  # Corsican
        0.02,
        _listed(
            "Casanova, Colonna d'Istria, Santoni, Mattei, Leca, Pietri, Orsini, Paoli, Luciani, Ceccaldi"
        ),
        _listed(
            "Ghjulia, Lisandru, Ange-Marie, Saveria, Don-Jacques, Letizia, Petru, Vannina, Andria, Laetitia"
        ),
    ),
    Origin(  # Vietnamese
        0.04,
        _listed("Nguyễn, Trần, Lê, Phạm, Hoàng, Huỳnh, Vũ, Đặng, Bùi, Đỗ, Hồ, Ngô, Dương, Lý"),
        _listed(
            "Thị Hương, Minh Anh, Văn Đức, Thu Hà, Quốc Bảo, Ngọc Ánh, Hữu Phước, Thanh Trúc, Linh, Đăng Khoa"
        ),
    ),
    Origin(  # Maghreb
        0.08,
        _listed(
            "Benali, Ben Youssef, El Amrani, Aït Ahmed, Bouzid, Haddad, Belkacem, M'Barek, Chérif, "
            "Mansouri, Ould-Slimane, Zerrouki, Bensaïd, El-Khoury, Boudiaf, Kaddour, Sahraoui, "
            "Mebarki"
        ),
        _listed(
            "Yasmine, Ayoub, Nour El Houda, Mohamed-Amine, Inès, Rayan, Aïcha, Soufiane, Zaïneb, "
            "Abd El Kader, Naïma, Samir, Lyès, Fatima-Zohra, Younès, Nadia, Amine, Khadîdja"
        ),
    ),
    Origin(  # West African
        0.06,
        _listed(
            "Diallo, N'Diaye, Traoré, Koné, Ouédraogo, Sow, Bâ, Coulibaly, Cissé, N'Guessan, "
            "Touré, Fofana, Kouamé, Sissoko, Mbaye, Dembélé, Agbodjan-Prince, Adjovi"
        ),
        _listed(
            "Aminata, Mamadou, Aïssatou, Ibrahima, Fatoumata, Kwamé, Awa, Cheikh-Anta, Mariam, "
            "Ousmane, Adjoua, Boubacar, Sékou, Aya, Djénéba, Modibo"
        ),
    ),
    Origin(  # Portuguese and Brazilian
        0.04,
        _listed(
            "da Silva, dos Santos, Gonçalves, Ferreira, Araújo, Conceição, de Oliveira, Simões, "
            "Guimarães, Falcão"
        ),
        _listed(
            "João, Inês, Catarina, Tomás, Mário, Beatriz, Luís Filipe, Conceição, Antónia, Gonçalo, Sílvia"
        ),
    ),
    Origin(  # and from elsewhere
        0.02,
        _listed(
            "Y\u0131lmaz, Öztürk, Şahin, Kowalczyk, Wójcik, Łukasiewicz, Dvořák, Strauß, Ångström, "
            "O'Brien, Núñez"
        ),
        _listed("Zeynep, Çağla, Michał, Zoë, Jiří, Søren, Siân, Małgorzata, Tomáš, Ivana, Björn, Núria"),
    ),
)
"""The shares add up to 1. Every name is chosen alike within its origin."""
